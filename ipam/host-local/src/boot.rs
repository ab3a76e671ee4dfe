//! Which boot of the machine this is: a lease of before it belongs to a container that no longer runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::error::Error;

/// The running boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// The kernel's random name of it (random(4), boot_id).
    pub(crate) id: String,
    /// When it began, by the present wall clock, as `btime` of proc_stat(5) has it. It moves when the clock is stepped.
    time: SystemTime,
}

/// A file must be this much older than the boot to count as of before it: clocks are often stepped by a little when time
/// synchronisation starts, and only a reboot within the first seconds of a lease's life is told wrong by it.
const MARGIN: Duration = Duration::from_secs(5);

impl Boot {
    /// Asks the kernel.
    pub(crate) fn current() -> Result<Self, Error> {
        let path = Path::new("/proc/sys/kernel/random/boot_id");
        let id = fs::read_to_string(path).map_err(Error::io("read", path))?.trim().to_owned();
        // /proc/stat would say it too, but sums up every interrupt of every CPU for each reader.
        let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map_err(|errno| {
            Error::io("read the clock CLOCK_BOOTTIME of", Path::new("the kernel"))(errno.into())
        })?;
        Ok(Boot { id, time: SystemTime::now() - Duration::from(since) })
    }

    /// Whether something that was last written at `written` is of before this boot, as far as clocks can tell.
    pub(crate) fn is_after(&self, written: SystemTime) -> bool {
        // Some file systems hold times that a sum cannot.
        written.checked_add(MARGIN).is_some_and(|written| written < self.time)
    }

    /// A boot that never was.
    #[cfg(test)]
    pub(crate) fn fake(id: &str, time: SystemTime) -> Self {
        Boot { id: id.to_owned(), time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_is_where_proc_stat_has_it() {
        let boot = Boot::current().unwrap();
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let btime: u64 = stat.lines().find_map(|line| line.strip_prefix("btime ")).unwrap().parse().unwrap();
        let seconds = boot.time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(seconds.abs_diff(btime) <= 1, "{seconds} {btime}");
        assert_eq!(boot.id.len(), 36, "{:?}", boot.id);
    }

    #[test]
    fn only_what_is_clearly_older_counts_as_of_before_the_boot() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let boot = Boot::fake("this", time);
        assert!(boot.is_after(time - Duration::from_secs(6)));
        assert!(!boot.is_after(time - Duration::from_secs(5)));
        assert!(!boot.is_after(time + Duration::from_secs(1)));
    }
}
