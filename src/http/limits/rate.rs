//! Events by a key, such as a client address or a user: so many in a period, and as many at once.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::util::clock::Clock;

/// Counts by a key, such as an address and a path, or a user.
///
/// A key falls into one of 65,536 places, by a hash that cannot be computed outside. So there is nothing to clear up, and
/// however many addresses one client has, they cost a megabyte or two. Keys that share a place share its count;
/// to spoil all places takes that many times the quota.
pub(super) struct Rate {
    places: RandomState,
    limiter: RateLimiter<u16, HashMapStateStore<u16>, Running, NoOpMiddleware<Duration>>,
    clock: Running,
}

/// The time as the limiter wants it: one that never goes back.
#[derive(Clone)]
struct Running(Clock);

impl GovernorClock for Running {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

impl Rate {
    pub(super) fn new(quota: Quota, clock: Clock) -> Self {
        let clock = Running(clock);
        let limiter = RateLimiter::hashmap_with_clock(quota, clock.clone());
        Self { places: RandomState::new(), limiter, clock }
    }

    /// Counts a request from an address to a path.
    pub(super) fn count_address(&self, address: IpAddr, path: &str) -> Result<(), u64> {
        self.count(&(network(address), path))
    }

    /// Counts one more; where it is one too many, gives the seconds after which the next may come.
    pub(super) fn count(&self, key: &impl Hash) -> Result<(), u64> {
        let [.., high, low] = self.places.hash_one(key).to_be_bytes();
        let place = u16::from_be_bytes([high, low]);
        self.limiter.check_key(&place).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            wait.as_secs() + 1
        })
    }
}

/// What counts as one: an IPv6 host has at least 2^64 addresses to choose from.
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

    fn three_a_minute() -> (Rate, Clock) {
        let clock = Clock::system();
        (Rate::new(Quota::per_minute(NonZeroU32::new(3).unwrap()), clock.clone()), clock)
    }

    /// Sends requests until one is refused; gives how many were not.
    fn taken(limit: &Rate, address: &str) -> usize {
        let address = address.parse().unwrap();
        (0..10).take_while(|_| limit.count_address(address, "/sso/login").is_ok()).count()
    }

    #[test]
    fn an_address_has_its_quota_at_once_and_then_by_and_by() {
        let (limit, clock) = three_a_minute();
        assert_eq!(taken(&limit, "192.0.2.1"), 3);
        let wait = limit.count_address("192.0.2.1".parse().unwrap(), "/sso/login").unwrap_err();
        assert!((19..=20).contains(&wait), "one more is free after a third of a minute, not {wait} s");
        clock.advance(TimeDelta::seconds(20));
        assert_eq!(taken(&limit, "192.0.2.1"), 1);
        clock.advance(TimeDelta::hours(1));
        assert_eq!(taken(&limit, "192.0.2.1"), 3, "nobody saves up more than the quota");
    }

    #[test]
    fn one_network_of_ipv6_is_one_client() {
        let (limit, _) = three_a_minute();
        assert_eq!(taken(&limit, "2001:db8:1:2::1"), 3);
        assert_eq!(taken(&limit, "2001:db8:1:2:ffff:ffff:ffff:ffff"), 0);
        let others = ["2001:db8:1:3::1", "2001:db8:1:102::1", "2001:db8:2:2::1", "2001:db9:1:2::1"];
        // Not all: once in 65,536 times one shares the place.
        assert!(others.iter().any(|other| taken(&limit, other) == 3), "other networks have their own");
    }

    #[test]
    fn an_ipv4_address_written_as_ipv6_is_the_same() {
        let (limit, _) = three_a_minute();
        assert_eq!(taken(&limit, "192.0.2.1"), 3);
        assert_eq!(taken(&limit, "::ffff:192.0.2.1"), 0);
        let others = ["::ffff:192.0.2.2", "::ffff:192.0.3.1", "::ffff:193.0.2.1"];
        assert!(others.iter().any(|other| taken(&limit, other) == 3), "other addresses have their own");
    }

    #[test]
    fn a_path_has_its_own_count() {
        let (limit, _) = three_a_minute();
        assert_eq!(taken(&limit, "192.0.2.1"), 3);
        let others = ["/sso/callback", "/sso/key/generate", "/sso/frontchannel-logout"];
        let free = |path: &&str| limit.count_address("192.0.2.1".parse().unwrap(), path).is_ok();
        assert!(others.iter().any(free), "the other paths have their own");
    }

    #[test]
    fn millions_of_addresses_take_no_more_room_than_all_places_do() {
        let (limit, _) = three_a_minute();
        for network in 0..200_000_u128 {
            let _ = limit.count_address(Ipv6Addr::from_bits(network << 64).into(), "/sso/login");
        }
        assert!(limit.limiter.len() <= 65_536, "{}", limit.limiter.len());
    }
}
