//! Pauses between the tries of processes that get in each other's way.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest pause between tries.
const MAX_PAUSE: Duration = Duration::from_millis(10);

/// Waits a random time, longer with each try, so that processes that got in each other's way part.
pub(crate) fn pause(tries: u32) {
    std::thread::sleep(pause_of(tries));
}

fn pause_of(tries: u32) -> Duration {
    let longest = MAX_PAUSE.min(Duration::from_micros(100).saturating_mul(tries));
    // The standard library seeds it for each process, and changes it for each call.
    let random = RandomState::new().hash_one(tries) as u32;
    longest.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit() {
        let longest = |tries| (0..50).map(|_| pause_of(tries)).max().unwrap();
        assert!(longest(1) <= Duration::from_micros(100));
        assert!(longest(50) > Duration::from_millis(1) && longest(50) <= Duration::from_millis(5));
        assert!(longest(u32::MAX) <= MAX_PAUSE);
    }
}
