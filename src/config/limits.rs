//! The section `limits`: concurrency, and rates per client address and per user.

use std::num::NonZeroU32;

use super::section::Section;

/// `limits`: concurrency and rates. Request size limits are fixed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,
    /// Maximum number of concurrent callbacks from Entra.
    pub concurrent_sign_ins: usize,
    /// Maximum requests per minute and address to each sign-in route; `None` is no limit.
    pub sign_ins_per_address: Option<NonZeroU32>,
    /// Maximum completed sign-ins per minute and user; `None` is no limit.
    pub sign_ins_per_user: Option<NonZeroU32>,
}

/// Leaves room for connections to Postgres, Entra and Graph below 1,024 open files, a common process limit.
const CONNECTIONS: u32 = 512;
/// A sign-in takes about a second, most of it waiting for Entra and Graph, so this is over 100 sign-ins per second.
const CONCURRENT_SIGN_INS: u32 = 128;
/// Lets 2,000 users behind one address sign in within 2.5 minutes: 600 at once, then 10 per second.
const SIGN_INS_PER_ADDRESS: u32 = 600;
/// More than a user needs per minute with all browsers.
const SIGN_INS_PER_USER: u32 = 60;

pub(super) fn limits(root: &mut Section) -> Limits {
    let mut section = root.section("limits");
    let limits = Limits {
        connections: section.value("connections", CONNECTIONS, |item| item.integer(1..=65_536)) as usize,
        concurrent_sign_ins: section.value("concurrent_sign_ins", CONCURRENT_SIGN_INS, |item| item.integer(1..=10_000))
            as usize,
        sign_ins_per_address: rate(&mut section, "sign_ins_per_address", SIGN_INS_PER_ADDRESS),
        sign_ins_per_user: rate(&mut section, "sign_ins_per_user", SIGN_INS_PER_USER),
    };
    section.finish();
    limits
}

/// A number per minute; 0 is no limit.
fn rate(section: &mut Section, key: &'static str, default: u32) -> Option<NonZeroU32> {
    let item = section.take(key);
    let rate = item.as_ref().map_or(Some(default), |item| item.integer(0..=1_000_000)).and_then(NonZeroU32::new);
    section.show(key, item.as_ref(), rate.map_or("no limit".to_owned(), |rate| rate.to_string()));
    rate
}
