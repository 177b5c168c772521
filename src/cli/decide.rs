//! `entraway approve` and `entraway reject`: decide about a plan that the circuit breaker held.

use std::process::ExitCode;

use anyhow::Context as _;

use super::output::{errln, outln};
use crate::audit::AuditActor;
use crate::config::Config;
use crate::db::{Db, Decided, Decision};
use crate::util::clock::Clock;

/// The fewest digits that name a plan.
const FEWEST_DIGITS: usize = 8;

/// The first digits of a plan's hash, or all of them.
#[derive(Clone, Debug)]
pub(super) struct HashPrefix(String);

impl HashPrefix {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        let is_prefix = (FEWEST_DIGITS..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_prefix
            .then_some(Self(text))
            .ok_or_else(|| format!("expected {FEWEST_DIGITS} to 64 hexadecimal digits, as entraway plan prints them"))
    }
}

pub(super) async fn run(hash: &HashPrefix, decision: Decision, config: &Config) -> anyhow::Result<ExitCode> {
    let db = Db::new(config.store, &config.database.url, 1)?;
    let HashPrefix(prefix) = hash;
    let decided = db.decide_plan(prefix, decision, AuditActor::Command, Clock::system().now()).await;
    db.close().await;
    match decided.context("failed to store the decision")? {
        Decided::Done(hash) => {
            match decision {
                Decision::Approve => outln!(
                    "plan {hash}: approved for 24 hours. The next run removes its memberships, unless other changes are held \
                     by then."
                )?,
                Decision::Reject => outln!(
                    "plan {hash}: rejected. Its memberships stay as long as the same changes are held. entraway approve \
                     replaces this decision."
                )?,
            }
            return Ok(ExitCode::SUCCESS);
        }
        Decided::NotFound => errln!(
            "entraway: plan {prefix}: no held plan has a hash that begins so, or several do. Give all 64 digits. A plan of \
             entraway plan can be decided once a run holds it"
        ),
        Decided::NotHeld { status } if status == "applied" => {
            errln!("entraway: plan {prefix}: was already applied, so there is nothing to decide");
        }
        Decided::NotHeld { .. } => errln!(
            "entraway: plan {prefix}: has lapsed, because a later run had other changes. Run entraway plan, and decide about \
             the plan that it shows"
        ),
    }
    Ok(ExitCode::FAILURE)
}
