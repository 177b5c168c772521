//! Real faults of the components around the service, and their effect on sign-ins and sessions, during and after the
//! fault.

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
