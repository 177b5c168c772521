//! Things that really break: each test breaks one while people sign in.

mod haproxy;
mod pgbouncer;
mod replicas;
mod rolling;
mod standby;
