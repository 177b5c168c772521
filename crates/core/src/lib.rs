//! What Entraway decides, without I/O: the rules of the sync, the plan of a sign-in, permissions, and explanations.
//!
//! The modules in reading order; each uses only those above it. Time is a parameter.

pub mod domain;

pub mod permissions;
pub mod policy;

pub mod audit;

pub mod plan;

pub mod entra_facts;

pub mod reconciliation;

pub mod sync_run;

pub mod explain;
