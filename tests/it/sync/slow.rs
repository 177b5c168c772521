//! Many sign-ins at once, which takes long.

mod concurrency;
mod races;
