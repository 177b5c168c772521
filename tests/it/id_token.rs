//! ID tokens that are right, be it only just; the keys that they are signed with, and where those come from. The wrong
//! ones are among the attacks.

mod accepted;
mod discovery;
mod keys;
mod tenants;

pub(crate) use tenants::stranger;
