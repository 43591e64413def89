//! How long work on this machine has stood still for want of a processor or of memory: the pressure stall information of
//! Linux (Documentation/accounting/psi.rst). As with the wall clock, whoever needs it is handed a [`Gauge`], so that a test
//! decides how busy the machine is.

use std::sync::Arc;
use std::time::Duration;

/// Reads the machine's stalls; `None` where the kernel does not say (before 4.20, or without `CONFIG_PSI`).
pub type Gauge = Arc<dyn Fn() -> Option<Stalled> + Send + Sync>;

/// For how long, since boot, at least one task could not go on for want of it. What grew between two readings, as a part
/// of the time between them, is the pressure: 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stalled {
    /// A processor.
    pub cpu: Duration,
    /// Memory: it had to be read again or made free first.
    pub memory: Duration,
}

/// The files under `/proc/pressure`.
#[must_use]
pub fn system() -> Gauge {
    Arc::new(|| Some(Stalled { cpu: some("cpu")?, memory: some("memory")? }))
}

fn some(resource: &str) -> Option<Duration> {
    total(&std::fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?)
}

/// The `total` of the line `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, in microseconds.
fn total(text: &str) -> Option<Duration> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let total = line.split(' ').find_map(|field| field.strip_prefix("total="))?;
    Some(Duration::from_micros(total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some_is_read() {
        let text = "some avg10=1.53 avg60=0.87 avg300=0.81 total=1207533\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7";
        assert_eq!(total(text), Some(Duration::from_micros(1_207_533)));
    }

    #[test]
    fn what_is_not_such_a_file_says_nothing() {
        for text in ["", "full avg10=0.00 total=7", "some avg10=0.00", "some avg10=0.00 total=-1"] {
            assert_eq!(total(text), None, "{text}");
        }
    }
}
