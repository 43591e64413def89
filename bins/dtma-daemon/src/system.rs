//! How the machine does: processor, memory, the disk with the state, and since when, read from `/proc`.

use dtma_api::SystemProbe;
use dtma_api_types::compat::{DiskMetrics, MemoryMetrics, SystemMetrics};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Looks at this machine. What cannot be read is 0: a status with a gap is better than none.
pub(crate) fn probe(state_dir: &Path) -> SystemProbe {
    let (disk, last) = (state_dir.to_owned(), Mutex::new(ticks().unwrap_or_default()));
    Arc::new(move || {
        let now = ticks().unwrap_or_default();
        let before = std::mem::replace(&mut *last.lock().unwrap_or_else(PoisonError::into_inner), now);
        SystemMetrics {
            cpu_load_percent: load(before, now),
            memory: memory(&read("/proc/meminfo")),
            disk: self::disk(&disk),
            uptime_seconds: uptime(&read("/proc/uptime")),
        }
    })
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Processor time since the machine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

fn ticks() -> Option<Ticks> {
    parse_ticks(&read("/proc/stat"))
}

/// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guest time is in user time already.
fn parse_ticks(stat: &str) -> Option<Ticks> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all = fields.iter().sum();
    let idle: u64 = fields.get(3..5)?.iter().sum();
    Some(Ticks { busy: all - idle, all })
}

#[expect(clippy::cast_precision_loss, reason = "a share of ticks")]
fn load(before: Ticks, now: Ticks) -> f64 {
    let (busy, all) = (now.busy.saturating_sub(before.busy), now.all.saturating_sub(before.all));
    if all == 0 { 0.0 } else { (busy as f64 / all as f64 * 1000.0).round() / 10.0 }
}

fn memory(meminfo: &str) -> MemoryMetrics {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0).saturating_mul(1024)
    };
    let (total, free, available) = (bytes("MemTotal"), bytes("MemFree"), bytes("MemAvailable"));
    MemoryMetrics {
        total_bytes: total,
        active_bytes: total.saturating_sub(available),
        free_bytes: free,
        used_bytes: total.saturating_sub(free),
    }
}

fn disk(path: &PathBuf) -> DiskMetrics {
    let mount = path.display().to_string();
    let Ok(seen) = rustix::fs::statvfs(path) else { return DiskMetrics { mount, ..DiskMetrics::default() } };
    let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
    DiskMetrics {
        mount,
        total_bytes: bytes(seen.f_blocks),
        used_bytes: bytes(seen.f_blocks.saturating_sub(seen.f_bfree)),
        free_bytes: bytes(seen.f_bavail),
    }
}

fn uptime(text: &str) -> u64 {
    text.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read_as_the_kernel_writes_it() {
        let stat = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3\n";
        assert_eq!(parse_ticks(stat), Some(Ticks { busy: 150, all: 1000 }));
        assert_eq!(load(Ticks::default(), Ticks { busy: 150, all: 1000 }), 15.0);
        assert_eq!(load(Ticks { busy: 1, all: 1 }, Ticks { busy: 1, all: 1 }), 0.0);
        let seen = memory("MemTotal: 1000 kB\nMemFree:  100 kB\nMemAvailable: 600 kB\n");
        let [total, active, free, used] = [1000, 400, 100, 900].map(|kilobytes: u64| kilobytes * 1024);
        let expected =
            MemoryMetrics { total_bytes: total, active_bytes: active, free_bytes: free, used_bytes: used };
        assert_eq!(seen, expected);
        assert_eq!((uptime("123.45 99.0\n"), uptime("")), (123, 0));
    }

    #[test]
    fn this_machine_has_memory_a_disk_and_a_past() {
        let seen = probe(Path::new("/"))();
        assert!(seen.memory.total_bytes > seen.memory.free_bytes && seen.memory.free_bytes > 0, "{seen:?}");
        assert!(seen.disk.total_bytes >= seen.disk.used_bytes && seen.disk.total_bytes > 0, "{seen:?}");
        assert!(seen.uptime_seconds > 0 && (0.0..=100.0).contains(&seen.cpu_load_percent), "{seen:?}");
    }
}
