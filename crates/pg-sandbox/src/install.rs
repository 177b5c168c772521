//! Finds the installed Postgres programs.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Folders of packages outside `PATH`, each with the prefix before the version in a subfolder's name.
const PLACES: [(&str, &str); 5] = [
    ("/usr/lib/postgresql", ""),                       // Debian, Ubuntu
    ("/usr", "pgsql-"),                                // the PostgreSQL project's own packages for Red Hat
    ("/opt/homebrew/opt", "postgresql@"),              // Homebrew, Apple silicon
    ("/usr/local/opt", "postgresql@"),                 // Homebrew, Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"), // Homebrew, Linux
];

/// Folder with `initdb` and `postgres`: the one in `PATH`, otherwise the newest version in the usual folders.
pub(crate) fn find_binaries(path: &OsStr) -> Option<PathBuf> {
    let elsewhere = PLACES.map(|(folder, prefix)| (Path::new(folder), prefix));
    in_path(path, "postgres").into_iter().chain(newest_first(&elsewhere)).find_map(|bin| {
        // A program in PATH may be a symlink into the installation's folder.
        let real = fs::canonicalize(bin.join("postgres")).ok()?.parent()?.to_owned();
        [real, bin].into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
    })
}

/// First folder in `path` that contains `program`.
pub(crate) fn in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).find(|folder| folder.join(program).is_file())
}

/// The `bin` folders of all versions in `places`, newest first.
fn newest_first(places: &[(&Path, &str)]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (folder, prefix) in places {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix)?.parse::<u32>().ok());
            found.extend(version.map(|version| (version, entry.path().join("bin"))));
        }
    }
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Whether the extension is installed. Postgres does not start if `shared_preload_libraries` names a missing library.
pub(crate) async fn has_pg_stat_statements(bin: &Path) -> bool {
    let Ok(folder) = output(bin.join("pg_config"), &["--pkglibdir"]).await else { return false };
    ["so", "dylib"].iter().any(|ending| Path::new(&folder).join("pg_stat_statements").with_extension(ending).exists())
}

/// Runs a program and returns its trimmed standard output.
pub(crate) async fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> io::Result<String> {
    let output = tokio::process::Command::new(program).args(arguments).stdin(Stdio::null()).output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_and_other_names_are_passed_over() {
        let root = std::env::temp_dir().join(format!("entraway-places-{:016x}", getrandom::u64().unwrap()));
        for folder in ["deb/9", "deb/15", "deb/common", "brew/postgresql@17", "brew/postgresql", "brew/openssl@3"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let places = [(&*root.join("deb"), ""), (&*root.join("brew"), "postgresql@"), (&*root.join("none"), "")];
        let found = newest_first(&places);
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, ["brew/postgresql@17/bin", "deb/15/bin", "deb/9/bin"].map(|bin| root.join(bin)));
    }
}
