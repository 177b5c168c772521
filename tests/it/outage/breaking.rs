//! Chance that can be repeated, and a Postgres that is restarted under everybody's hands.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use entraway::pg::PrivateCluster;

use super::standby::running;

/// The same numbers for the same seed (`SplitMix64`).
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

/// Cuts all sessions and starts it again with the arguments that it had; back when it takes connections. When its folder
/// goes with the cluster it ends by itself.
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
    assert!(done.success(), "Postgres was not restarted; the end of its log, the last line first: {end:#?}");
}
