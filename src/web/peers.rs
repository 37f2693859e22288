//! What one address may take of what all share, so that whoever floods a listener takes it from himself: connections, and
//! requests per time. Addresses of a house share theirs: an IPv6 network of 64 bits counts as one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// More addresses at once share what one of them has.
const MAX_PEERS: usize = 10_000;

/// Connections of all peers.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    most_of_one: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection; dropped, it makes room.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    peer: IpAddr,
}

/// How fast each peer may go: a token comes every `interval`, `burst` are kept, and whoever finds none waits for his up to
/// `patience`.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    burst: u32,
    patience: Duration,
    /// When all tokens of a peer will be there again.
    full: Mutex<HashMap<IpAddr, Instant>>,
}

/// Who counts as one.
pub(super) fn peer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

// === impl Seats ===

impl Seats {
    pub(super) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { most, most_of_one, taken: Mutex::default() })
    }

    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Seat> {
        let mut taken = locked(&self.taken);
        let own = taken.get(&peer).copied().unwrap_or_default();
        if own >= self.most_of_one || taken.values().sum::<usize>() >= self.most {
            return None;
        }
        taken.insert(peer, own + 1);
        Some(Seat { seats: Arc::clone(self), peer })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = locked(&self.seats.taken);
        match taken.get_mut(&self.peer) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.peer)),
        }
    }
}

// === impl Pace ===

impl Pace {
    pub(super) fn new(interval: Duration, burst: u32, patience: Duration) -> Self {
        Self { interval, burst, patience, full: Mutex::default() }
    }

    /// How long a request has to wait, or, if that is too long, when it may come back.
    pub(super) fn take(&self, peer: IpAddr) -> Result<Duration, Duration> {
        let mut full = locked(&self.full);
        let now = Instant::now();
        if full.len() >= MAX_PEERS {
            full.retain(|_, full| *full > now);
        }
        let known = full.len() < MAX_PEERS || full.contains_key(&peer);
        let full = full.entry(if known { peer } else { Ipv6Addr::UNSPECIFIED.into() }).or_insert(now);
        let next = (*full).max(now) + self.interval;
        let wait = next.duration_since(now).saturating_sub(self.interval * self.burst);
        match wait.checked_sub(self.patience) {
            Some(more) if !more.is_zero() => Err(more),
            _ => {
                *full = next;
                Ok(wait)
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        peer(text.parse().unwrap())
    }

    #[test]
    fn a_house_is_one_peer() {
        assert_eq!(ip("::ffff:192.0.2.7"), ip("192.0.2.7"));
        assert_ne!(ip("192.0.2.7"), ip("192.0.2.8"));
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:1"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
    }

    #[test]
    fn nobody_takes_all_seats() {
        let seats = Seats::new(5, 3);
        let mut taken: Vec<_> = (0..3).map(|_| seats.take(ip("192.0.2.7")).unwrap()).collect();
        assert!(seats.take(ip("192.0.2.7")).is_none());
        let other = seats.take(ip("192.0.2.8"));
        taken.pop();
        taken.push(seats.take(ip("192.0.2.7")).expect("one left"));
        let _last = seats.take(ip("192.0.2.8")).expect("the fifth");
        assert!(seats.take(ip("192.0.2.9")).is_none());
        drop((other, taken));
        assert_eq!(locked(&seats.taken).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_a_queue_then_a_refusal_and_none_of_it_for_others() {
        let pace = Pace::new(Duration::from_millis(100), 3, Duration::from_millis(250));
        let many = || (0..6).map(|_| pace.take(ip("192.0.2.7")).map_err(|wait| wait.as_millis())).collect::<Vec<_>>();
        let waits = |waits: [u64; 5]| waits.map(|wait| Ok(Duration::from_millis(wait))).to_vec();
        let mut expected = waits([0, 0, 0, 100, 200]);
        expected.push(Err(50));
        assert_eq!(many(), expected);
        assert_eq!(pace.take(ip("192.0.2.8")), Ok(Duration::ZERO));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(pace.take(ip("192.0.2.7")), Ok(Duration::from_millis(250)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(many(), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_peers_share_and_are_forgotten() {
        let pace = Pace::new(Duration::from_secs(1), 1, Duration::ZERO);
        let peers = |first: u32| (first..).map(|n| IpAddr::from(n.to_be_bytes())).take(MAX_PEERS);
        assert!(peers(0).all(|peer| pace.take(peer).is_ok()));
        assert_eq!(peers(1 << 24).filter(|peer| pace.take(*peer).is_ok()).count(), 1);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(pace.take(ip("192.0.2.7")).is_ok());
        assert_eq!(locked(&pace.full).len(), 1);
    }
}
