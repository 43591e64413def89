//! Values that are typed with some syntax of their own: durations, ports, pairs.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use dtma_client::types::duration::parse;
use dtma_client::types::{Mount, MountType, Publish, Transport};
use std::time::Duration;

/// The longest the daemon lets anybody wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// `30` (seconds), `500ms`, `30s`, `5m`, `1h`, `2d`: the syntax of the daemon's own queries.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse(text).map_err(|_| "not a duration such as 500ms, 30s, 5m or 1h".to_owned())
}

/// A duration for which the daemon lets a caller wait.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() {
        return Err("must be more than nothing; --no-wait does not wait at all".into());
    }
    if time > LONGEST_WAIT { Err("longer than 1h".into()) } else { Ok(time) }
}

/// The longest a command may take in a container.
const LONGEST_COMMAND: Duration = Duration::from_secs(600);

/// How long a command may take in a container.
pub(crate) fn command_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time.is_zero() => Err("must be more than nothing".into()),
        time if time > LONGEST_COMMAND => Err("longer than 10m".into()),
        time => Ok(time),
    }
}

/// The most replicas a server can be asked to have.
const MOST_REPLICAS: u32 = 32;

/// How many replicas a server is to have.
pub(crate) fn replicas(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(count) if (1..=MOST_REPLICAS).contains(&count) => Ok(count),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a number from 1 to {MOST_REPLICAS}")),
    }
}

/// `NAME` or `NAME=REPLICAS`.
pub(crate) fn scale(text: &str) -> Result<(String, Option<u32>), String> {
    match text.split_once('=') {
        None => Ok((text.to_owned(), None)),
        Some(("", _)) => Err("not of the form INSTANCE or INSTANCE=N".into()),
        Some((name, count)) => Ok((name.to_owned(), Some(replicas(count)?))),
    }
}

/// A moment: a duration back from now, or RFC 3339. The daemon reads it again; here only typing errors are caught.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    if duration(text).is_ok() || text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(text.to_owned());
    }
    Err("neither a duration such as 10m nor a time such as 2026-01-31T12:00:00Z".into())
}

/// `KEY=VALUE`; the value may be empty.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("not of the form KEY=VALUE".into()),
    }
}

/// `HOST:CONTAINER` ports, or one number for both.
pub(crate) fn publish(text: &str) -> Result<Publish, String> {
    let (host, container) = text.split_once(':').unwrap_or((text, text));
    Ok(Publish { host_port: port(host)?, container_port: port(container)? })
}

/// One of the words for how MCP is spoken.
pub(crate) fn transport() -> impl TypedValueParser<Value = Transport> {
    let words = Transport::ALL.iter().map(|transport| transport.as_str());
    PossibleValuesParser::new(words).map(|word| {
        let named = Transport::ALL.iter().find(|transport| transport.as_str() == word);
        named.copied().unwrap_or(Transport::Stdio)
    })
}

/// A TCP port.
pub(crate) fn port(text: &str) -> Result<u32, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(u32::from(port)),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a port between 1 and 65535")),
    }
}

/// `NAME:/PATH[:ro]`: a named volume of the group.
pub(crate) fn volume(text: &str) -> Result<Mount, String> {
    let wrong = || "not of the form NAME:/PATH or NAME:/PATH:ro".to_owned();
    let (name, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (target, read_only) = match rest.split_once(':') {
        None => (rest, None),
        Some((target, "ro")) => (target, Some(true)),
        Some((target, "rw")) => (target, None),
        Some(_) => return Err(wrong()),
    };
    if name.is_empty() || !target.starts_with('/') {
        return Err(wrong());
    }
    Ok(Mount {
        mount_type: MountType::Volume,
        name: Some(name.to_owned()),
        source: None,
        target: target.to_owned(),
        size: None,
        read_only,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, millis) in [("30", 30_000), ("500ms", 500), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "s", "-1", "1.5s", "5 m", "99999999999999999999", "1y", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn waiting_ends_within_the_hour() {
        assert!(timeout("1h").is_ok());
        assert!(timeout("61m").is_err());
        assert!(timeout("0").is_err());
    }

    #[test]
    fn replicas_come_with_the_name_or_apart() {
        assert_eq!(scale("web"), Ok(("web".into(), None)));
        assert_eq!(scale("web=3"), Ok(("web".into(), Some(3))));
        for bad in ["=3", "web=", "web=0", "web=33", "web=-1", "web=a"] {
            assert!(scale(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_ends_within_ten_minutes() {
        assert!(command_time("10m").is_ok());
        assert!(command_time("0").is_err());
        assert!(command_time("601s").is_err());
    }

    #[test]
    fn a_moment_is_relative_or_absolute() {
        assert!(moment("10m").is_ok());
        assert!(moment("2026-01-31T12:00:00Z").is_ok());
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn pairs_are_cut_at_the_first_equals_sign() {
        assert_eq!(pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(pair("a="), Ok(("a".into(), String::new())));
        assert!(pair("=b").is_err());
        assert!(pair("a").is_err());
    }

    #[test]
    fn ports_are_published_in_pairs_or_alone() {
        assert_eq!(publish("8080:80"), Ok(Publish { host_port: 8080, container_port: 80 }));
        assert_eq!(publish("80"), Ok(Publish { host_port: 80, container_port: 80 }));
        for bad in ["", ":", "0:80", "80:65536", "127.0.0.1:80:80", "a"] {
            assert!(publish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn volumes_have_a_name_and_an_absolute_target() {
        let mount = volume("data:/data:ro").unwrap();
        assert_eq!((mount.name.as_deref(), mount.target.as_str()), (Some("data"), "/data"));
        assert_eq!(mount.read_only, Some(true));
        for bad in ["data", ":/data", "data:data", "data:/data:x"] {
            assert!(volume(bad).is_err(), "{bad}");
        }
    }
}
