//! Writes what was measured into `docs/performance.md`.

use std::fmt::Write as _;

use entraway::domain::StoreKind;

use crate::driver::Storm;
use crate::pages::{self, LOADS, Page, TEAMS};
use crate::{AT_ONCE, PEOPLE, RUNS, SIGN_INS, Scene};

/// One kind of sign-in.
pub(crate) struct Sync {
    /// Of the whole sign-in, by Postgres' own count.
    pub(crate) statements: i64,
    pub(crate) transactions: i64,
    /// Reading, planning and writing, without Entra and Graph; the median.
    pub(crate) ms: f64,
}

/// A storm of sign-ins, and the binary's resident memory before and after all that was measured, in MiB.
pub(crate) struct Stormed {
    pub(crate) storm: Storm,
    pub(crate) idle: f64,
    pub(crate) after: f64,
}

pub(crate) struct Measured {
    pub(crate) scene: Scene,
    pub(crate) first: Sync,
    pub(crate) another: Sync,
    pub(crate) repeat: Sync,
    pub(crate) stormed: Option<Stormed>,
}

pub(crate) struct Report {
    pub(crate) postgres: String,
    pub(crate) measured: Vec<Measured>,
    pub(crate) pages: Vec<(StoreKind, Vec<Page>)>,
}

/// What LiteLLM 1.109.1 itself does for the same: read off its code, and observed with its real routes.
const LITELLM: &str = "\
LiteLLM 1.109.1 itself, for comparison: with 250 assigned groups and the person in 10, 3,362 Prisma actions in 510
transactions for the first sign-in and 255 for a repeat; with 200 groups and the person in all of them, on a like machine,
6,436 SQL statements and 10.2 s for the first, 211 and 0.45 s for a repeat. It makes no organizations.
";

impl Report {
    /// Prints the page and writes it.
    pub(crate) fn write(&self) -> anyhow::Result<()> {
        let page = self.page()?;
        println!("{page}");
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/performance.md"), page)?;
        Ok(())
    }

    fn page(&self) -> anyhow::Result<String> {
        let mut page = String::from("# Performance\n\nWritten by `script/bench`, which repeats it.\n\n");
        writeln!(page, "Measured on {}, Postgres {} with its default durability.", machine(), self.postgres)?;
        writeln!(
            page,
            "The service is the release binary in a process of its own. The simulated Entra and Graph, the browsers and\n\
             Postgres run beside it on the same cores, so a sign-in here pays for all of them.\n"
        )?;
        writeln!(page, "## One sign-in, organizations on\n")?;
        writeln!(
            page,
            "Statements are Postgres' own count (`pg_stat_statements`, top level, `BEGIN` and `COMMIT` among them). The\n\
             whole sign-in has two more than the sync: the attempt is used up, and the session is opened together with\n\
             the sync record. The time is the sync's without Entra and Graph: read, plan, write; the median of {RUNS}."
        )?;
        for measured in &self.measured {
            let Scene { groups, in_groups, .. } = measured.scene;
            writeln!(page, "\nStore `{}`, {groups} assigned groups, the person in {in_groups}:\n", store(measured))?;
            writeln!(page, "| sign-in | statements, all | of them the sync's | write transactions | sync, ms |")?;
            writeln!(page, "|---|---|---|---|---|")?;
            for (name, sync) in [
                ("the first ever: all groups are new", &measured.first),
                ("another person's first: the groups are there", &measured.another),
                ("a repeat: nothing changes", &measured.repeat),
            ] {
                let (all, own) = (sync.statements, sync.statements - 2);
                writeln!(page, "| {name} | {all} | {own} | {} | {:.1} |", sync.transactions, sync.ms)?;
            }
        }
        writeln!(page, "\n{LITELLM}\n## Many sign-ins\n")?;
        writeln!(
            page,
            "{SIGN_INS} sign-ins of {PEOPLE} people, {AT_ONCE} at a time, each the whole way: begin, pick an account, \
             come back. The first\n{PEOPLE} of them, which write, are not in the figures."
        )?;
        for measured in &self.measured {
            let Some(Stormed { storm, idle, after }) = &measured.stormed else { continue };
            writeln!(page, "\n| store `{}` | measured |\n|---|---|", store(measured))?;
            writeln!(page, "| sign-ins a second | {:.0} |", storm.a_second)?;
            writeln!(page, "| one whole sign-in, p50 | {:.1} ms |", storm.p50_ms)?;
            writeln!(page, "| one whole sign-in, p99 | {:.1} ms |", storm.p99_ms)?;
            writeln!(page, "| resident memory, idle | {idle:.1} MiB |")?;
            writeln!(page, "| resident memory, after {SIGN_INS} sign-ins | {after:.1} MiB |")?;
        }
        page.push_str(&self::pages(&self.pages)?);
        Ok(page)
    }
}

/// The part about pages.
pub(crate) fn pages(measured: &[(StoreKind, Vec<Page>)]) -> anyhow::Result<String> {
    let mut page = String::new();
    writeln!(
        page,
        "\n## Pages\n\nWith {TEAMS} organizations and teams, {} people, memberships of each kind and sync records; for \
         somebody who sees\neverything. From the request to the whole page, in milliseconds, of {LOADS} loads one after \
         another. The litellm store has\nthe indexes of [litellm-indexes.sql](litellm-indexes.sql). The native store's team \
         has 200,000 members, the other one's 10.",
        pages::PEOPLE
    )?;
    for (kind, pages) in measured {
        writeln!(page, "\n| store `{}` | path | p50 | p99 |\n|---|---|---|---|", name(*kind))?;
        for Page { what, path, p50_ms, p99_ms } in pages {
            writeln!(page, "| {what} | `{path}` | {p50_ms:.1} | {p99_ms:.1} |")?;
        }
    }
    Ok(page)
}

fn store(measured: &Measured) -> &'static str {
    name(measured.scene.store)
}

fn name(store: StoreKind) -> &'static str {
    match store {
        StoreKind::Native => "native",
        StoreKind::LiteLlm => "litellm",
    }
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    format!("{cores} cores ({model}), {} GiB, {}", kib / 1024 / 1024, std::env::consts::OS)
}
