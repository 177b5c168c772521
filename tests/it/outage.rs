//! Things that really break: each test breaks one while people sign in.

mod breaking;
mod flat;
mod haproxy;
mod pgbouncer;
mod replicas;
mod rolling;
mod soak;
mod standby;
