//! Time that does not go backwards, and numbers that a seed gives.

use std::time::Duration;

/// Later is as late as this, so that after any moment there is another.
const LATEST: Duration = Duration::from_secs(1 << 60);

/// Counts on from where it was when the caller's clock goes backwards.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    last: Duration,
    /// How far it is ahead of the caller's.
    ahead: Duration,
}

impl Clock {
    pub(super) fn new(now: Duration) -> Self {
        Clock::ahead(now, Duration::ZERO)
    }

    /// One that has counted at least `age` already, so that a moment before the caller's clock began has a place in it.
    pub(super) fn ahead(now: Duration, age: Duration) -> Self {
        let age = age.min(LATEST);
        Clock { last: now.min(LATEST).saturating_add(age), ahead: age }
    }

    pub(super) fn now(&self) -> Duration {
        self.last
    }

    pub(super) fn advance(&mut self, now: Duration) -> Duration {
        let counted = now.min(LATEST).saturating_add(self.ahead);
        self.ahead = self.ahead.saturating_add(self.last.saturating_sub(counted));
        self.last = self.last.max(counted);
        self.last
    }

    /// What it would be after [`Clock::advance`].
    pub(super) fn read(&self, now: Duration) -> Duration {
        self.last.max(now.min(LATEST).saturating_add(self.ahead))
    }

    pub(super) fn to_caller(&self, at: Duration) -> Duration {
        at.saturating_sub(self.ahead)
    }
}

/// The generator SplitMix64: enough to keep clients apart, and the same each time for a seed.
#[derive(Clone, Debug)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn xid(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// From 0 up to and without 1.
    pub(super) fn fraction(&mut self) -> f64 {
        f64::from(self.xid()) / (f64::from(u32::MAX) + 1.0)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
