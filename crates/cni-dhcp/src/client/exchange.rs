//! One request, sent again and again until it is answered.

use std::time::Duration;

use super::time::Random;

/// The pause after the first message; each further is twice as long (RFC 2131, section 4.1, begins with 4 seconds: servers on a
/// local link answer in milliseconds).
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// By how much a pause is longer or shorter at random.
const JITTER: f64 = 0.1;

#[derive(Clone, Debug)]
pub(super) struct Exchange {
    pub(super) xid: u32,
    /// When the first message of the present kind was sent.
    pub(super) first: Option<Duration>,
    /// When the next is due.
    pub(super) next: Option<Duration>,
    /// `secs` of the last message.
    pub(super) secs: u16,
    sent: u32,
}

impl Exchange {
    /// One that begins at this time.
    pub(super) fn new(xid: u32, at: Duration) -> Self {
        Exchange { xid, first: None, next: Some(at), secs: 0, sent: 0 }
    }

    /// The same transaction goes on with another kind of message (RFC 2131, section 4.4.1: `xid` and `secs` stay).
    pub(super) fn go_on(&self, at: Duration) -> Self {
        Exchange { secs: self.secs, ..Exchange::new(self.xid, at) }
    }

    /// Remembers that a message is sent now, and returns when the first was.
    pub(super) fn send(&mut self, now: Duration) -> Duration {
        self.sent = self.sent.saturating_add(1);
        *self.first.get_or_insert(now)
    }

    /// Puts the next message behind a pause that doubles each time, up to the longest.
    pub(super) fn back_off(&mut self, now: Duration, longest: Duration, random: &mut Random) {
        self.next = Some(now.saturating_add(pause(self.sent, longest, random)));
    }

    /// When it has gone on for this long.
    pub(super) fn over(&self, timeout: Duration) -> Option<Duration> {
        self.first.map(|first| first.saturating_add(timeout))
    }
}

/// The pause before what happens for the `n`th time again.
pub(super) fn pause(n: u32, longest: Duration, random: &mut Random) -> Duration {
    // A pause of nothing would send without end.
    let longest = longest.max(FIRST_PAUSE);
    let doubled = 1_u32.checked_shl(n.saturating_sub(1)).unwrap_or(u32::MAX);
    let plain = FIRST_PAUSE.saturating_mul(doubled).min(longest);
    plain.mul_f64(1.0 - JITTER + 2.0 * JITTER * random.fraction())
}
