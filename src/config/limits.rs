//! The section `limits`: concurrency, and rates per client address and per user.

use std::num::NonZeroU32;

use super::Limits;
use super::reader::Reader;
use super::section::Section;

/// Leaves room for connections to Postgres, Entra and Graph below 1,024 open files, a common process limit.
const CONNECTIONS: u32 = 512;
/// A sign-in takes about a second, most of it waiting for Entra and Graph, so this is over 100 sign-ins per second.
const CONCURRENT_SIGN_INS: u32 = 128;
/// Lets 2,000 users behind one address sign in within 2.5 minutes: 600 at once, then 10 per second.
const SIGN_INS_PER_ADDRESS: u32 = 600;
/// More than a user needs per minute with all browsers.
const SIGN_INS_PER_USER: u32 = 60;

/// Reads `limits`. An invalid value is a problem, so the default returned for it is never used.
pub(super) fn limits<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Limits {
    let mut section = root.section("limits", reader);
    let connections = section.take("connections");
    let concurrent_sign_ins = section.take("concurrent_sign_ins");
    let sign_ins_per_address = section.take("sign_ins_per_address");
    let sign_ins_per_user = section.take("sign_ins_per_user");
    section.finish(reader);

    let connections = connections.and_then(|item| reader.integer(&item, 1..=65_536)).unwrap_or(CONNECTIONS);
    let concurrent = concurrent_sign_ins.and_then(|item| reader.integer(&item, 1..=10_000));
    let per_address = sign_ins_per_address.and_then(|item| reader.integer(&item, 0..=1_000_000));
    let per_user = sign_ins_per_user.and_then(|item| reader.integer(&item, 0..=1_000_000));
    Limits {
        connections: connections as usize,
        concurrent_sign_ins: concurrent.unwrap_or(CONCURRENT_SIGN_INS) as usize,
        sign_ins_per_address: NonZeroU32::new(per_address.unwrap_or(SIGN_INS_PER_ADDRESS)),
        sign_ins_per_user: NonZeroU32::new(per_user.unwrap_or(SIGN_INS_PER_USER)),
    }
}
