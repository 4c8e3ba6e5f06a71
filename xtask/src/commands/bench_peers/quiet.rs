//! How busy other processes keep the machine, from Linux's /proc.

use std::time::Instant;

/// Parts of a second that /proc counts in: `USER_HZ`, the same on every Linux.
const TICKS: f64 = 100.0;
/// More cores than this busy with something else, and a measurement is dropped.
pub(super) const MOST_OTHERS: f64 = 0.2;

/// Times of the processors so far.
pub(super) struct Snapshot {
    at: Instant,
    /// Ticks that processors were busy, or taken away by a hypervisor.
    busy: u64,
    /// Ticks of this process and its children.
    own: u64,
}

impl Snapshot {
    /// As of now; `None` where there is no /proc.
    pub(super) fn take() -> Option<Self> {
        Some(Self {
            at: Instant::now(),
            busy: busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?)?,
            own: tree_ticks(&processes()?, std::process::id()),
        })
    }

    /// Cores that others used on average from `self` to `later`.
    pub(super) fn others(&self, later: &Self) -> f64 {
        let busy = later.busy.saturating_sub(self.busy);
        // A child that has ended takes its time along: then others seem busy, which is the safe side.
        let own = later.own.saturating_sub(self.own);
        let seconds = later.at.duration_since(self.at).as_secs_f64();
        busy.saturating_sub(own) as f64 / TICKS / seconds
    }
}

/// A process in /proc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    ticks: u64,
}

/// Every process that there is.
fn processes() -> Option<Vec<Process>> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let stats = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        path.file_name()?.to_str()?.parse::<u32>().ok()?;
        // One that has ended since is gone.
        std::fs::read_to_string(path.join("stat")).ok()
    });
    Some(stats.filter_map(|stat| process(&stat)).collect())
}

/// From the first line of /proc/stat: user, nice, system, then after idle and waiting: interrupts and stolen.
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_whitespace().map_while(|time| time.parse().ok()).collect();
    // Guests' time is part of user time.
    let counted = [0, 1, 2, 5, 6, 7];
    (times.len() > 4).then(|| counted.iter().filter_map(|&i| times.get(i)).sum())
}

/// From /proc/PID/stat.
fn process(stat: &str) -> Option<Process> {
    let id = stat.split_whitespace().next()?.parse().ok()?;
    // The name before it may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Process {
        id,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
    })
}

/// Ticks of process `root` and all that came from it.
fn tree_ticks(processes: &[Process], root: u32) -> u64 {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        let children = processes.iter().filter(|child| child.parent == parent);
        let children: Vec<u32> = children.map(|child| child.id).filter(|id| !tree.contains(id)).collect();
        tree.extend(children);
        next += 1;
    }
    let own = processes.iter().filter(|process| tree.contains(&process.id));
    own.map(|process| process.ticks).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn proc_stat_is_read() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(100 + 20 + 30 + 6 + 7 + 8));
        // Old kernels have fewer columns.
        assert_eq!(busy_ticks("cpu  100 20 30 4000 500\n"), Some(150));
        for bad in ["", "cpu0 1 2 3 4 5\n", "cpu  1 2\n", "cpu  a b c d e\n"] {
            assert_eq!(busy_ticks(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_process_may_be_called_anything() {
        let stat = "42 (a) b (c)) S 7 42 42 0 -1 4194304 1 2 3 4 150 25 9 9 20 0 1 0 5 6 7";
        let expected = Process {
            id: 42,
            parent: 7,
            ticks: 175,
        };
        assert_eq!(process(stat), Some(expected));
        assert_eq!(process("42 (a S 7"), None);
        assert_eq!(process("42 (a) S 7 42"), None);
    }

    #[test]
    fn children_of_children_are_own_time() {
        let process = |id, parent, ticks| Process { id, parent, ticks };
        let all = [
            process(1, 0, 1),
            process(5, 1, 10),
            process(7, 6, 1000),
            process(6, 5, 100),
            process(8, 1, 10_000),
        ];
        assert_eq!(tree_ticks(&all, 5), 1110);
        assert_eq!(tree_ticks(&all, 8), 10_000);
        assert_eq!(tree_ticks(&all, 9), 0);
    }

    #[test]
    fn others_are_what_is_busy_and_not_own() {
        let at = Instant::now();
        let snapshot = |seconds, busy, own| Snapshot {
            at: at + Duration::from_millis(seconds),
            busy,
            own,
        };
        let before = snapshot(0, 1000, 400);
        // In half a second 100 ticks on two cores, 70 of them own: 0.6 of a core.
        assert!((before.others(&snapshot(500, 1100, 470)) - 0.6).abs() < 1e-9);
        // Own time is measured finer than that of the machine and may seem to be more.
        assert!(before.others(&snapshot(500, 1100, 503)) < 1e-9);
    }
}
