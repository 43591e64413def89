//! What no request may ever have, whoever asks and however it is spelt: looked for at any depth.

use super::{fold, says_nothing};
use crate::check::mounts;
use crate::report::{Report, shown};
use crate::rule;
use dtma_core::violation::pointer_token;
use serde_json::{Map, Value};

/// Judges every field of an object and of all objects in it, except people's own labels.
pub(super) fn scan(report: &mut Report, at: &str, object: &Map<String, Value>) {
    for (key, value) in object {
        let at = format!("{at}/{}", pointer_token(key));
        let folded = fold(key);
        judge(report, &at, &folded, value);
        if folded != "labels" {
            descend(report, &at, value);
        }
    }
}

fn descend(report: &mut Report, at: &str, value: &Value) {
    match value {
        Value::Object(object) => scan(report, at, object),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| descend(report, &format!("{at}/{index}"), item));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Fields of which any value that says something is refused, and what they would give.
const REFUSED: [(&str, &str, &str); 10] = [
    ("devices", rule::NEVER_DEVICE, "a device of the host"),
    ("devicerequests", rule::NEVER_DEVICE, "a device of the host"),
    ("devicecgrouprules", rule::NEVER_DEVICE, "access to devices of the host"),
    ("sysctls", rule::NEVER_SYSCTL, "a kernel setting"),
    ("volumesfrom", rule::NEVER_VOLUMES_FROM, "another container's volumes"),
    ("volumedriver", rule::NEVER_VOLUME_OPTIONS, "a volume driver, which can mount any path of the host"),
    ("driverconfig", rule::NEVER_VOLUME_OPTIONS, "volume options, which can mount any path of the host"),
    ("driveropts", rule::NEVER_VOLUME_OPTIONS, "volume options, which can mount any path of the host"),
    ("endpointsconfig", rule::NEVER_FOREIGN_NETWORK, "a network that is not the group's own"),
    ("links", rule::NEVER_FOREIGN_NETWORK, "a network that is not the group's own"),
];

/// Fields that are judged by what they say.
const JUDGED: [&str; 13] = [
    "privileged",
    "maskedpaths",
    "readonlypaths",
    "securityopt",
    "capadd",
    "networkmode",
    "pidmode",
    "ipcmode",
    "utsmode",
    "usernsmode",
    "cgroupnsmode",
    "binds",
    "mounts",
];

/// True when a field of this name has been judged by [`scan`], and so need not be refused for being unknown.
pub(super) fn judges(folded: &str) -> bool {
    JUDGED.contains(&folded) || REFUSED.iter().any(|(name, ..)| *name == folded)
}

fn judge(report: &mut Report, at: &str, key: &str, value: &Value) {
    if let Some((_, rule, gain)) = REFUSED.iter().find(|(name, ..)| *name == key) {
        if !says_nothing(value) {
            report.refuse(at, rule, format!("no server is given {gain}"));
        }
        return;
    }
    match key {
        "privileged" if !matches!(value, Value::Null | Value::Bool(false)) => {
            report.refuse(at, rule::NEVER_PRIVILEGED, "no server runs privileged");
        }
        // An empty list is the most dangerous value: it unmasks everything.
        "maskedpaths" | "readonlypaths" if !value.is_null() => {
            report.refuse(at, rule::NEVER_MASKED_PATHS, "the masked paths of /proc and /sys stay masked");
        }
        "securityopt" => each(report, at, value, security_option),
        "capadd" => each(report, at, value, capability),
        "networkmode" => network(report, at, value),
        "pidmode" | "ipcmode" | "utsmode" | "usernsmode" | "cgroupnsmode" => namespace(report, at, value),
        "binds" => each(report, at, value, bind),
        "mounts" => mount_list(report, at, value),
        _ => {}
    }
}

/// Judges every entry of a list of texts; a lone text counts as a list of one.
fn each(report: &mut Report, at: &str, value: &Value, judge: impl Fn(&mut Report, &str, &str)) {
    match value {
        Value::Null => {}
        Value::String(text) => judge(report, at, text),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| {
            let at = format!("{at}/{index}");
            match item.as_str() {
                Some(text) => judge(report, &at, text),
                None => report.refuse(&at, rule::OVERRIDE_TYPE, "expected text"),
            }
        }),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            report.refuse(at, rule::OVERRIDE_TYPE, "expected a list of texts");
        }
    }
}

fn security_option(report: &mut Report, at: &str, text: &str) {
    let folded = fold(text.trim());
    let (name, setting) = folded.split_once(['=', ':']).unwrap_or((&folded, ""));
    match (name, setting.trim()) {
        ("no-new-privileges", "" | "true") => {}
        ("systempaths", _) => {
            report.refuse(at, rule::NEVER_MASKED_PATHS, "the masked paths of /proc and /sys stay masked");
        }
        (_, "unconfined" | "disable") => {
            let message = format!("{} switches off what confines a server", shown(text));
            report.refuse(at, rule::NEVER_UNCONFINED, message);
        }
        _ => {
            let message = format!("{} is not the engine's own profile, which every server has", shown(text));
            report.refuse(at, rule::OVERRIDE_LOOSENS, message);
        }
    }
}

fn capability(report: &mut Report, at: &str, text: &str) {
    let folded = fold(text.trim());
    let name = folded.strip_prefix("cap_").unwrap_or(&folded);
    let never = ["all", "net_admin", "net_raw", "dac_read_search", "ptrace", "bpf"];
    if name.starts_with("sys_") || never.contains(&name) {
        let message = format!("the capability {} reaches out of the container", shown(text));
        return report.refuse(at, rule::NEVER_CAPABILITY, message);
    }
    report.refuse(
        at,
        rule::OVERRIDE_LOOSENS,
        format!("no capability can be added, not even {}", shown(text)),
    );
}

/// The mode as an engine reads it, when it is the host's or another container's.
fn namespace(report: &mut Report, at: &str, value: &Value) {
    let Some(mode) = mode(report, at, value) else { return };
    match mode.as_str() {
        "" | "private" => {}
        other if is_host(other) => {
            report.refuse(at, rule::NEVER_HOST_NAMESPACE, "no server shares a namespace of the host");
        }
        other if other.starts_with("container:") => {
            let message = "no server shares a namespace of another container";
            report.refuse(at, rule::NEVER_FOREIGN_NAMESPACE, message);
        }
        _ => report.refuse(at, rule::OVERRIDE_LOOSENS, "every server has this namespace for itself"),
    }
}

fn network(report: &mut Report, at: &str, value: &Value) {
    let Some(mode) = mode(report, at, value) else { return };
    match mode.as_str() {
        "" | "none" => {}
        other if is_host(other) => {
            report.refuse(at, rule::NEVER_HOST_NAMESPACE, "no server shares a namespace of the host");
        }
        "bridge" | "default" => {
            let message = "the engine's common bridge joins everybody";
            report.refuse_with(at, rule::OVERRIDE_UNSUPPORTED, message, "use the server's network");
        }
        _ => {
            let message = "a server joins its own group's network or none";
            report.refuse_with(at, rule::NEVER_FOREIGN_NETWORK, message, "use the server's network");
        }
    }
}

/// `host`, or a namespace file by path (`ns:/proc/1/ns/net`, as Podman takes it).
fn is_host(mode: &str) -> bool {
    mode == "host" || mode.starts_with("host:") || mode.starts_with("ns:")
}

fn mode(report: &mut Report, at: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(mode) => Some(fold(mode.trim())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            report.refuse(at, rule::OVERRIDE_TYPE, "expected text");
            None
        }
    }
}

const USE_MOUNTS: &str = "use the server's mounts";

/// `source:target[:options]`; a source without a slash is a volume.
fn bind(report: &mut Report, at: &str, text: &str) {
    let source = text.split(':').next().unwrap_or_default();
    if source.contains('/') {
        return mounts::bind(report, at, source);
    }
    report.refuse_with(at, rule::OVERRIDE_UNSUPPORTED, "volumes are not mounted this way here", USE_MOUNTS);
}

fn mount_list(report: &mut Report, at: &str, value: &Value) {
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let mut fields = item.as_object().into_iter().flatten();
        let source =
            fields.find_map(|(key, value)| (fold(key) == "source").then_some((key, value.as_str()?)));
        match source.filter(|(_, source)| source.contains('/')) {
            Some((key, source)) => mounts::bind(report, &format!("{at}/{index}/{key}"), source),
            None => {
                let message = "mounts are not written this way here";
                report.refuse_with(&format!("{at}/{index}"), rule::OVERRIDE_UNSUPPORTED, message, USE_MOUNTS);
            }
        }
    }
    if !value.is_array() && !says_nothing(value) {
        report.refuse(at, rule::OVERRIDE_TYPE, "expected a list");
    }
}
