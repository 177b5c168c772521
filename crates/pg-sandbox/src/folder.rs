//! The cluster's folder and the account that owns it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::ClusterError;
use crate::cluster::PORT;
use crate::install::output;

/// Maximum length of the socket path. The limit is 107 bytes on Linux and 103 on macOS.
const LONGEST_SOCKET_PATH: usize = 100;

/// User and group ID of the account that runs Postgres instead of root, from the contents of `/etc/passwd`.
pub(crate) fn account(passwd: &str) -> Option<(u32, u32)> {
    // macOS has `_postgres`. Its `nobody` has the ID -2, which does not parse.
    ["postgres", "_postgres", "nobody"].into_iter().find_map(|wanted| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            (name == wanted).then_some((uid, gid))
        })
    })
}

/// Path of a new folder in `temp`, or in `/tmp` if `temp` is not suitable. Does not create it.
///
/// The path contains only letters, digits and `/._-`, because it is used unquoted in a URL, a setting and a command
/// line.
pub(crate) fn new_folder(temp: &Path, for_another_user: bool) -> Result<PathBuf, ClusterError> {
    let name = format!("entraway-pg-{:016x}", getrandom::u64().map_err(ClusterError::Random)?);
    let folder = temp.join(&name);
    let plain = |path: &str| path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-".contains(&b));
    let socket_length = format!("{}/.s.PGSQL.{PORT}", folder.display()).len();
    let suits = temp.is_absolute()
        && folder.to_str().is_some_and(plain)
        && socket_length <= LONGEST_SOCKET_PATH
        && (!for_another_user || is_open_to_all(temp));
    Ok(if suits { folder } else { Path::new("/tmp").join(name) })
}

/// A folder in memory with room for a cluster. A container's `/dev/shm` of 64 MB is too small.
pub(crate) async fn memory_folder() -> Option<&'static Path> {
    const FOLDER: &str = "/dev/shm";
    const NEEDED_KB: u64 = 2 << 20;
    let table = output("df", &["-P", "-k", FOLDER]).await.ok()?;
    let line = table.lines().nth(1).filter(|line| line.starts_with("tmpfs") || line.starts_with("shm"))?;
    let free: u64 = line.split_whitespace().nth(3)?.parse().ok()?;
    (free >= NEEDED_KB).then_some(Path::new(FOLDER))
}

/// Whether any user can create a folder here and reach it.
fn is_open_to_all(folder: &Path) -> bool {
    let may = |path: &Path, rights| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & rights == rights);
    may(folder, 0o003) && folder.ancestors().all(|above| may(above, 0o001))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_hands_postgres_to_postgres_or_else_to_nobody() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(account(passwd), Some((65534, 65533)));
        assert_eq!(account(&format!("{passwd}postgres:x:101:104:,,,:/var:/bin/sh\n")), Some((101, 104)));
        assert_eq!(account("nobody:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false\n"), None);
    }

    #[test]
    fn a_folder_that_is_too_long_or_odd_or_closed_is_replaced_by_tmp() {
        let in_tmp = |temp: &str, for_another_user| {
            new_folder(Path::new(temp), for_another_user).unwrap().parent() == Some(Path::new("/tmp"))
        };
        assert!(!in_tmp("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T", false), "macOS's own");
        assert!(in_tmp(&format!("/{}", "x".repeat(80)), false));
        assert!(in_tmp("/a folder", false));
        assert!(in_tmp("relative", false));
        assert!(in_tmp("/no/such/folder", true));
    }
}
