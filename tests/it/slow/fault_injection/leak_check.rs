//! Resource use of a process, and whether it grows.

use std::fs;

use sqlx::PgPool;

/// Resource use at one time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Resident memory in KiB.
    memory: u64,
    files: u64,
    /// Connections of all replicas to the database.
    connections: u64,
}

impl Sample {
    /// Takes a sample. `None` if the database does not respond.
    pub(super) async fn take(pid: u32, pool: &PgPool) -> Option<Self> {
        let count = "select count(*) from pg_stat_activity where application_name like 'entraway%'";
        let connections: i64 = sqlx::query_scalar(count).fetch_one(pool).await.ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let memory = line.trim().trim_end_matches("kB").trim().parse().unwrap();
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Some(Self { memory, files: u64::try_from(files).unwrap(), connections: u64::try_from(connections).unwrap() })
    }
}

/// Resources whose use in the last quarter exceeds the maximum of the second quarter. The first quarter is warm-up.
pub(super) fn findings(samples: &[Sample]) -> Vec<String> {
    let quarter = samples.len() / 4;
    assert!(quarter > 0, "too few samples: {samples:?}");
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let grown = |what: &str, of: fn(&Sample) -> u64, room: fn(u64) -> u64| {
        let before = early.iter().map(of).max().unwrap_or_default();
        let mut after: Vec<u64> = late.iter().map(of).collect();
        after.sort_unstable();
        let after = after[after.len() / 2];
        (after > before + room(before)).then(|| format!("{what}: at most {before} before, {after} now"))
    };
    let findings = [
        grown("KiB of memory", |sample| sample.memory, |before| 4_096 + before / 8),
        grown("open files", |sample| sample.files, |_| 8),
        grown("connections to the database", |sample| sample.connections, |_| 4),
    ];
    findings.into_iter().flatten().collect()
}

fn series(memory: fn(u64) -> u64, files: fn(u64) -> u64, connections: fn(u64) -> u64) -> Vec<Sample> {
    let sample = |n| Sample { memory: memory(n), files: files(n), connections: connections(n) };
    (0..40).map(sample).collect()
}

#[test]
fn leak_check_accepts_warmup_and_fluctuation() {
    let samples = series(|n| 30_000 + 500 * (n % 7) + 900 * n.min(10), |n| 40 + n % 6, |n| 15 - n % 3);
    assert_eq!(findings(&samples), [""; 0]);
}

#[test]
fn leak_check_finds_each_kind_of_leak() {
    for (samples, what) in [
        (series(|n| 30_000 + 600 * n, |_| 40, |_| 15), "KiB of memory"),
        (series(|_| 30_000, |n| 40 + n, |_| 15), "open files"),
        (series(|_| 30_000, |_| 40, |n| 5 + n / 2), "connections to the database"),
    ] {
        let found = findings(&samples);
        assert!(found.len() == 1 && found[0].starts_with(what), "leak of {what} not found: {found:?}");
    }
}
