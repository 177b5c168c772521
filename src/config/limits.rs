//! The section `limits`: how much at once, from one address, and by one user.

use std::num::NonZeroU32;

use super::Limits;
use super::reader::Reader;
use super::section::Section;

/// With the database's connections and those to Entra and Graph it stays below 1,024 open files, which is all that a
/// process may have in many places.
const CONNECTIONS: u32 = 512;
/// Each waits for Entra and Graph most of its time, about a second: more than a hundred sign-ins a second.
const CONCURRENT_SIGN_INS: u32 = 128;
/// Two thousand people behind one address sign in within two and a half minutes: six hundred at once, and ten a second.
const SIGN_INS_PER_ADDRESS: u32 = 600;
/// More than any user needs in a minute, with all their browsers.
const SIGN_INS_PER_USER: u32 = 60;

/// Reads `limits`. For a value that was refused the default stands: the problem is told, and nothing is loaded.
pub(super) fn limits<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> Limits {
    let mut section = root.section("limits", reader);
    let connections = section.take("connections");
    let concurrent_sign_ins = section.take("concurrent_sign_ins");
    let sign_ins_per_address = section.take("sign_ins_per_address");
    let sign_ins_per_user = section.take("sign_ins_per_user");
    section.finish(reader);

    let connections = connections.and_then(|item| reader.whole(&item, 1..=65_536)).unwrap_or(CONNECTIONS);
    let concurrent = concurrent_sign_ins.and_then(|item| reader.whole(&item, 1..=10_000));
    let per_address = sign_ins_per_address.and_then(|item| reader.whole(&item, 0..=1_000_000));
    let per_user = sign_ins_per_user.and_then(|item| reader.whole(&item, 0..=1_000_000));
    Limits {
        connections: connections as usize,
        concurrent_sign_ins: concurrent.unwrap_or(CONCURRENT_SIGN_INS) as usize,
        sign_ins_per_address: NonZeroU32::new(per_address.unwrap_or(SIGN_INS_PER_ADDRESS)),
        sign_ins_per_user: NonZeroU32::new(per_user.unwrap_or(SIGN_INS_PER_USER)),
    }
}
