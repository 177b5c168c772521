//! Rate limit by a key, such as a client address or a user, with a burst of the whole quota.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::util::clock::Clock;

/// Rate limit per key.
///
/// Keys are hashed with a random seed into 65,536 slots, so memory stays at one or two megabytes without cleanup. Keys
/// in the same slot share a quota. Blocking all slots takes 65,536 times the quota.
pub(super) struct KeyedLimit {
    hasher: RandomState,
    limiter: RateLimiter<u16, HashMapStateStore<u16>, MonotonicClock, NoOpMiddleware<Duration>>,
    clock: MonotonicClock,
}

/// Monotonic clock for `governor`.
#[derive(Clone)]
struct MonotonicClock(Clock);

impl GovernorClock for MonotonicClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl KeyedLimit {
    pub(super) fn new(quota: Quota, clock: Clock) -> Self {
        let clock = MonotonicClock(clock);
        let limiter = RateLimiter::hashmap_with_clock(quota, clock.clone());
        Self { hasher: RandomState::new(), limiter, clock }
    }

    /// Counts a request from an address to a path.
    pub(super) fn count_address(&self, address: IpAddr, path: &str) -> Result<(), u64> {
        self.count(&(network(address), path))
    }

    /// Counts an event. If the limit is exceeded, returns the seconds until the next one is allowed.
    pub(super) fn count(&self, key: &impl Hash) -> Result<(), u64> {
        let [.., high, low] = self.hasher.hash_one(key).to_be_bytes();
        let slot = u16::from_be_bytes([high, low]);
        self.limiter.check_key(&slot).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            wait.as_secs() + 1
        })
    }
}

/// The network that counts as one client: an IPv6 host has at least 2^64 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use chrono::TimeDelta;

    use super::*;

    fn three_a_minute() -> (KeyedLimit, Clock) {
        let clock = Clock::system();
        (KeyedLimit::new(Quota::per_minute(NonZeroU32::new(3).unwrap()), clock.clone()), clock)
    }

    /// Counts requests until one is rejected. Returns the number of accepted ones.
    fn accepted(limit: &KeyedLimit, address: &str) -> usize {
        let address = address.parse().unwrap();
        (0..10).take_while(|_| limit.count_address(address, "/sso/login").is_ok()).count()
    }

    #[test]
    fn rate_limit_allows_burst_then_refills_over_time() {
        let (limit, clock) = three_a_minute();
        assert_eq!(accepted(&limit, "192.0.2.1"), 3);
        let wait = limit.count_address("192.0.2.1".parse().unwrap(), "/sso/login").unwrap_err();
        assert!((19..=20).contains(&wait), "one more is free after a third of a minute, not {wait} s");
        clock.advance(TimeDelta::seconds(20));
        assert_eq!(accepted(&limit, "192.0.2.1"), 1);
        clock.advance(TimeDelta::hours(1));
        assert_eq!(accepted(&limit, "192.0.2.1"), 3, "unused quota does not accumulate");
    }

    #[test]
    fn rate_limit_counts_each_path_separately() {
        let (limit, _) = three_a_minute();
        assert_eq!(accepted(&limit, "192.0.2.1"), 3);
        let others = ["/sso/callback", "/sso/key/generate", "/sso/frontchannel-logout"];
        let free = |path: &&str| limit.count_address("192.0.2.1".parse().unwrap(), path).is_ok();
        assert!(others.iter().any(free), "other paths have their own quota");
    }

    #[test]
    fn rate_limit_memory_is_bounded() {
        let (limit, _) = three_a_minute();
        for network in 0..200_000_u128 {
            let _ = limit.count_address(Ipv6Addr::from_bits(network << 64).into(), "/sso/login");
        }
        assert!(limit.limiter.len() <= 65_536, "{}", limit.limiter.len());
    }
}
