//! What the planner promises, as properties of generated cases and as a few examples to read. No I/O: a plan is a pure
//! function, and what becomes of the store is told by a model of a few lines. That the real stores do as the model does
//! is shown with a few of the same cases.

mod corpus;
mod examples;
mod from_bytes;
mod generate;
mod model;
mod properties;
mod roles;
mod stores;
mod unknown;
