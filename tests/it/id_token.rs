//! Valid ID tokens, including edge cases, and the signing keys and their source. Invalid tokens are in the attack
//! tests.

mod accepted;
mod discovery;
mod keys;
mod tenants;

pub(crate) use tenants::stranger;
