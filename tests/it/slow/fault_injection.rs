//! Parts that are really broken, and what becomes of sign-ins and sessions meanwhile and afterwards.

mod cluster;
mod disk;
mod failover;
mod haproxy;
mod leak_check;
mod lock;
mod microsoft;
mod network;
mod pgbouncer;
mod postgres;
mod postgres_restart;
mod replicas;
mod rolling_restart;
mod service_kill;
mod soak;
mod storm;
mod tcp_proxy;
