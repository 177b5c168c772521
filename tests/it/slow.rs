//! The slow tier: tests that start other programs (Chromium, reverse proxies, Redis, a LiteLLM proxy, promtool) or
//! Postgres clusters of their own and break them. `script/test --fast` leaves out every module named `slow`.

mod browser;
mod concurrent_proxy;
pub(crate) mod demo;
mod deploy;
mod fault_injection;
mod graph_faults;
mod litellm_cache;
mod litellm_proxy;
mod ops;
mod pg;
mod proxies;
