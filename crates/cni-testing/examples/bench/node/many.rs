//! The same for many, one after the other or all at once.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::Result;
use crate::samples::{Samples, timed};

/// How many come at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    OneByOne,
    AtOnce,
}

impl Mode {
    pub(super) const BOTH: [Mode; 2] = [Mode::OneByOne, Mode::AtOnce];
}

/// How long all of them took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) add: Duration,
    pub(super) del: Duration,
}

/// Those of all rounds, in both ways.
#[derive(Debug, Default)]
pub(super) struct Grid {
    one_by_one: [Samples; 2],
    at_once: [Samples; 2],
}

/// What is done to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Add,
    Del,
}

impl Grid {
    pub(super) fn push(&mut self, mode: Mode, times: Times) {
        let [add, del] = match mode {
            Mode::OneByOne => &mut self.one_by_one,
            Mode::AtOnce => &mut self.at_once,
        };
        add.push(times.add);
        del.push(times.del);
    }

    pub(super) fn median(&self, command: Command, mode: Mode) -> f64 {
        let [add, del] = match mode {
            Mode::OneByOne => &self.one_by_one,
            Mode::AtOnce => &self.at_once,
        };
        if command == Command::Add { add.median() } else { del.median() }
    }
}

/// Does it for each, and says how long it took in all: from the first one's start to the last one's end.
pub(super) fn each<T: Send>(
    mode: Mode,
    items: &mut [T],
    work: impl Fn(&mut T) -> Result<()> + Sync,
) -> Result<Duration> {
    match mode {
        Mode::OneByOne => {
            let (time, done) = timed(|| items.iter_mut().try_for_each(work));
            done.map(|()| time)
        }
        Mode::AtOnce => at_once(items, &work),
    }
}

/// On a thread each, which are all there before any of them begins.
fn at_once<T: Send>(items: &mut [T], work: &(impl Fn(&mut T) -> Result<()> + Sync)) -> Result<Duration> {
    let all_there = Barrier::new(items.len());
    let one = |item: &mut T| {
        all_there.wait();
        let start = Instant::now();
        work(item).map(|()| (start, Instant::now()))
    };
    let spans = std::thread::scope(|scope| {
        let threads: Vec<_> = items.iter_mut().map(|item| scope.spawn(|| one(item))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err("it panicked".into()))
        };
        threads.into_iter().map(join).collect::<Vec<Result<(Instant, Instant)>>>()
    });
    let spans = spans.into_iter().collect::<Result<Vec<_>>>()?;
    let first = spans.iter().map(|(start, _)| *start).min();
    let last = spans.iter().map(|(_, end)| *end).max();
    Ok(first.zip(last).map_or(Duration::ZERO, |(first, last)| last - first))
}
