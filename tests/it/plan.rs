//! Planner tests: properties of generated cases, and a few examples. They need no I/O: a plan is a pure function, and a
//! small model applies it. Some of the same cases show that the real stores behave like the model.

mod corpus;
mod examples;
mod from_bytes;
mod generate;
mod model;
mod properties;
mod reconciliation;
mod removals;
mod roles;
mod stores;
mod unknown;
