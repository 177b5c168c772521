//! Parts that are really broken, and what becomes of sign-ins and sessions meanwhile and afterwards.

mod breaking;
mod cluster;
mod cut;
mod disk;
mod flat;
mod haproxy;
mod killed;
mod lock;
mod microsoft;
mod pgbouncer;
mod postgres;
mod proxy;
mod replicas;
mod rolling;
mod soak;
mod standby;
mod storm;
