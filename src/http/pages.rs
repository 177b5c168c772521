//! Pages: one template for each.

pub(super) mod audit;
pub(super) mod changes;
pub(super) mod explain;
pub(super) mod failed_sign_ins;
mod me;
pub(super) mod organizations;
pub(super) mod sessions;
pub(super) mod settings;
pub(super) mod syncs;
pub(super) mod teams;
pub(super) mod users;
pub(super) mod welcome;
