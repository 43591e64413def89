//! Numbers and sizes with their ranges.

use super::Finder;
use dtma_api_types::ByteSize;
use std::time::Duration;

/// No duration of a spec is longer: a year, in milliseconds.
const LONGEST_MS: u64 = 365 * 24 * 3600 * 1000;

/// Reads numbers; what is out of range is reported and absent.
pub(super) trait Numbers {
    /// A whole number from `least` to `most`.
    fn within<T: TryFrom<u64>>(&mut self, value: Option<u64>, least: u64, most: u64) -> Option<T>;
    /// A duration in milliseconds.
    fn millis(&mut self, value: Option<u64>) -> Option<Duration>;
    /// A duration in seconds.
    fn seconds(&mut self, value: Option<u64>) -> Option<Duration>;
    /// CPUs as thousandths.
    fn cpus(&mut self, value: Option<f64>) -> Option<u32>;
    /// A number of bytes.
    fn bytes(&mut self, value: Option<&ByteSize>) -> Option<u64>;
}

impl Numbers for Finder<'_> {
    fn within<T: TryFrom<u64>>(&mut self, value: Option<u64>, least: u64, most: u64) -> Option<T> {
        let value = value?;
        let fits = (least..=most).contains(&value).then(|| T::try_from(value).ok()).flatten();
        if fits.is_none() {
            self.report("range", format!("{value} is not between {least} and {most}"));
        }
        fits
    }

    fn millis(&mut self, value: Option<u64>) -> Option<Duration> {
        self.within(value, 0, LONGEST_MS).map(Duration::from_millis)
    }

    fn seconds(&mut self, value: Option<u64>) -> Option<Duration> {
        self.within(value, 0, LONGEST_MS / 1000).map(Duration::from_secs)
    }

    fn cpus(&mut self, value: Option<f64>) -> Option<u32> {
        let value = value?;
        let millis = (value * 1000.0).round();
        if !(1.0..=f64::from(u32::MAX)).contains(&millis) {
            self.report("range", format!("{value} is not a number of CPUs such as 0.5"));
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range was checked above"
        )]
        Some(millis as u32)
    }

    fn bytes(&mut self, value: Option<&ByteSize>) -> Option<u64> {
        match value? {
            ByteSize::Bytes(bytes) => Some(*bytes),
            ByteSize::Text(text) => {
                let bytes = parse_size(text);
                if bytes.is_none() {
                    let text: String = text.chars().take(40).collect();
                    self.report_with_hint(
                        "size",
                        format!("{text:?} is not a size"),
                        "write 512MiB, 1.5GiB or a number",
                    );
                }
                bytes
            }
        }
    }
}

/// A decimal number and a unit, `1.5GiB`.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = factor(unit.trim())?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked here")]
    (bytes.is_finite() && (0.0..1e18).contains(&bytes)).then_some(bytes.round() as u64)
}

fn factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (prefix, binary) = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('i')) {
        Some(prefix) => (prefix, true),
        None => (unit.strip_suffix('b').unwrap_or(&unit), false),
    };
    let power = match prefix {
        "" if !binary => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(if binary { 1024_u64 } else { 1000 }.pow(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, expected) in [
            ("0", 0),
            ("512", 512),
            ("512B", 512),
            ("1k", 1000),
            ("1KB", 1000),
            ("1Ki", 1024),
            ("64kib", 65_536),
            ("512MiB", 536_870_912),
            ("512 MiB", 536_870_912),
            ("1.5GiB", 1_610_612_736),
            ("2T", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Some(expected), "{text}");
        }
        for bad in
            ["", "MiB", "-1", "1e3", "1.2.3MiB", "512XB", "99999999999999999999", "16777216TiB", "ib", "1 i"]
        {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
