//! Reproducible random numbers, and a Postgres that restarts during use.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use pg_sandbox::PrivateCluster;

use super::failover::running;

/// Pseudorandom numbers from a seed (`SplitMix64`).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// A cluster that may have been restarted. Its original watchdog does not know the new process, so dropping this stops
/// it.
pub(super) struct Restarted(pub(super) PrivateCluster);

impl Drop for Restarted {
    fn drop(&mut self) {
        let pid_file = self.0.folder().join("data/postmaster.pid");
        let Ok(text) = fs::read_to_string(&pid_file) else { return };
        let pid = text.lines().next().unwrap_or_default();
        let _ = Command::new("kill").args(["-QUIT", pid]).status();
        for _ in 0..500 {
            if !pid_file.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Terminates all sessions, restarts Postgres with its previous arguments, and waits until it accepts connections.
pub(super) async fn restart_postgres(cluster: &PrivateCluster) {
    let folder = cluster.folder();
    let owner = fs::metadata(folder).unwrap();
    let (_, program) = running(folder);
    let done = tokio::process::Command::new(program.with_file_name("pg_ctl"))
        .args(["restart", "--wait", "--mode=fast", "--timeout=120", "-D"])
        .arg(folder.join("data"))
        .arg("-l")
        .arg(folder.join("log"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .current_dir("/")
        .uid(owner.uid())
        .gid(owner.gid())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await
        .unwrap();
    let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
    let end: Vec<&str> = log.lines().rev().take(20).collect();
    assert!(done.success(), "Postgres was not restarted; its log, last line first: {end:#?}");
}
