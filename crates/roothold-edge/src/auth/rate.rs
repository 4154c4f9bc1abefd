//! Limits on how often: per principal, and on failed authentications per address.
//!
//! GCRA, the leaky bucket as one timestamp per key. `governor` has the same algorithm, but its keyed
//! store grows with every new key until somebody sweeps it; here it is bounded by itself.
//!
//! Limits hold per process: with N replicas behind a balancer a principal gets up to N times the
//! rate.
//!
//! **Invariant**: at most [`KEYS_MAX`] keys in memory. Making room may forgive a key that waited
//! least, and never punishes one.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use roothold_core::Principal;

/// The most keys that one limit remembers.
const KEYS_MAX: usize = 65_536;

/// A limit on the requests of each principal.
#[derive(Debug)]
pub struct RateLimit {
    buckets: Buckets<Arc<str>>,
}

impl RateLimit {
    /// Allows `rate` requests a second on average, and `burst` at once. Values below 1 request in
    /// 1,000 seconds, and bursts of 0, are raised to that and to 1.
    pub fn per_second(rate: f64, burst: u32) -> Self {
        Self { buckets: Buckets::new(rate, burst, KEYS_MAX) }
    }

    /// Counts one request of this principal.
    ///
    /// # Errors
    ///
    /// The time until its next request will be allowed; the refused one was not counted.
    pub fn check(&self, principal: &Principal) -> Result<(), Duration> {
        self.check_at(principal, Instant::now())
    }

    /// [`check`](Self::check) at a given time.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn check_at(&self, principal: &Principal, now: Instant) -> Result<(), Duration> {
        self.buckets.spend(&principal.shared_name(), now)
    }
}

/// A limit on failed authentications from each address, so that guessing costs time. IPv6
/// addresses count by their /64, which is what one subscriber has.
///
/// Behind a proxy, give it the client's address as the proxy reports it: with the proxy's own, one
/// guesser would lock out everyone.
#[derive(Debug)]
pub struct FailureLimit {
    buckets: Buckets<IpAddr>,
}

impl FailureLimit {
    /// Allows `rate` failures a second on average, and `burst` at once.
    pub fn per_second(rate: f64, burst: u32) -> Self {
        Self { buckets: Buckets::new(rate, burst, KEYS_MAX) }
    }

    /// Whether this address may try: ask before looking at its credential. Counts nothing.
    ///
    /// # Errors
    ///
    /// The time until it may try again.
    pub fn check(&self, address: IpAddr) -> Result<(), Duration> {
        self.buckets.peek(&network(address), Instant::now())
    }

    /// Counts one failure.
    pub fn failed(&self, address: IpAddr) {
        // A failure beyond the limit is refused by `check` already; it needs no further count.
        let _ = self.buckets.spend(&network(address), Instant::now());
    }
}

/// The part of an address that one client cannot choose freely.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[derive(Debug)]
struct Buckets<K> {
    /// The time one request takes to be earned back.
    interval: Duration,
    /// How far ahead of now a key may be after a request.
    tolerance: Duration,
    keys_max: usize,
    start: Instant,
    /// For each key, the time since `start` at which it will have earned everything back.
    full_at: Mutex<HashMap<K, Duration>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new(rate: f64, burst: u32, keys_max: usize) -> Self {
        let rate = if rate.is_finite() { rate.clamp(0.001, 1e9) } else { 1e9 };
        let interval = Duration::from_secs_f64(1.0 / rate);
        let tolerance = interval.saturating_mul(burst.max(1));
        let full_at = Mutex::default();
        Self { interval, tolerance, keys_max, start: Instant::now(), full_at }
    }

    /// Counts one, if the key still has one.
    fn spend(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.start);
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = full_at.get_mut(key) {
            *at = self.after_one_more(*at, now)?;
            return Ok(());
        }
        if full_at.len() >= self.keys_max {
            make_room(&mut full_at, now, self.keys_max);
        }
        full_at.insert(key.clone(), now + self.interval);
        Ok(())
    }

    fn peek(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let now = now.saturating_duration_since(self.start);
        let full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        match full_at.get(key) {
            Some(at) => self.after_one_more(*at, now).map(|_| ()),
            None => Ok(()),
        }
    }

    fn after_one_more(&self, full_at: Duration, now: Duration) -> Result<Duration, Duration> {
        let after = full_at.max(now) + self.interval;
        match after.saturating_sub(now).checked_sub(self.tolerance) {
            None | Some(Duration::ZERO) => Ok(after),
            Some(wait) => Err(wait),
        }
    }
}

/// Drops the keys that have earned everything back, which changes nothing for them. If most have
/// not, the better half goes too, so that a flood of keys costs one pass for many insertions.
fn make_room<K: Hash + Eq>(full_at: &mut HashMap<K, Duration>, now: Duration, keys_max: usize) {
    full_at.retain(|_, at| *at > now);
    if full_at.len() <= keys_max / 2 {
        return;
    }
    let mut times: Vec<Duration> = full_at.values().copied().collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    full_at.retain(|_, at| *at > median);
}

#[cfg(test)]
mod tests {
    use roothold_core::Scopes;

    use super::*;

    fn principal(name: &str) -> Principal {
        Principal::new(name, Scopes::All)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limit = RateLimit::per_second(10.0, 5);
        let (a, b, start) = (principal("a"), principal("b"), limit.buckets.start);
        for _ in 0..5 {
            assert_eq!(limit.check_at(&a, start), Ok(()));
        }
        assert_eq!(limit.check_at(&a, start), Err(Duration::from_millis(100)));
        assert_eq!(limit.check_at(&b, start), Ok(()), "principals do not share");
        let later = start + Duration::from_millis(99);
        assert_eq!(limit.check_at(&a, later), Err(Duration::from_millis(1)));
        assert_eq!(limit.check_at(&a, start + Duration::from_millis(100)), Ok(()));
        let allowed = (0..1000)
            .filter(|n| limit.check_at(&a, start + Duration::from_millis(1000 + n)).is_ok())
            .count();
        assert_eq!(allowed, 5 + 9, "five saved up, one for each further 100 ms");
    }

    #[test]
    fn memory_is_bounded_and_the_worst_offender_is_not_forgotten() {
        let buckets = Buckets::new(1.0, 10, 100);
        let start = buckets.start;
        assert_eq!((0..100).filter(|_| buckets.spend(&u32::MAX, start).is_ok()).count(), 10);
        for key in 0..10_000 {
            assert_eq!(buckets.spend(&key, start), Ok(()));
            assert!(buckets.full_at.lock().unwrap().len() <= 100);
        }
        assert!(buckets.spend(&u32::MAX, start).is_err());
    }

    #[test]
    fn idle_keys_are_dropped_first() {
        let buckets = Buckets::new(1.0, 10, 100);
        for key in 0..100 {
            buckets.spend(&key, buckets.start).unwrap();
        }
        let later = buckets.start + Duration::from_mins(1);
        buckets.spend(&1000, later).unwrap();
        assert_eq!(buckets.full_at.lock().unwrap().len(), 1);
    }

    #[test]
    fn only_failures_count_against_an_address() {
        let limit = FailureLimit::per_second(0.001, 2);
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        for _ in 0..10 {
            assert_eq!(limit.check(address), Ok(()));
        }
        limit.failed(address);
        limit.failed(neighbour);
        assert!(limit.check(address).is_err(), "one /64 is one client");
        limit.failed(address);
        assert!(limit.check("2001:db8:0:1::1".parse().unwrap()).is_ok());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        limit.failed(mapped);
        limit.failed(mapped);
        assert!(limit.check("192.0.2.1".parse().unwrap()).is_err());
        assert!(limit.check("192.0.2.2".parse().unwrap()).is_ok());
    }

    #[test]
    fn odd_settings_still_limit_and_still_allow() {
        for (rate, burst) in [(0.0, 0), (f64::NAN, 1), (f64::INFINITY, u32::MAX), (-1.0, 3)] {
            let limit = RateLimit::per_second(rate, burst);
            assert_eq!(limit.check(&principal("a")), Ok(()), "{rate} {burst}");
        }
    }
}
