//! A create request in the engine's own words, read into a few known fields.
//!
//! Nothing of it is ever passed on: what is not read here cannot have an effect, and is refused so that nobody
//! believes it had one. What must never be is named by its own rule wherever it stands ([`mod@never`]), even where the
//! engine would ignore it.

mod host;
mod never;
mod value;

use crate::check::{lifecycle, text};
use crate::policy::Policy;
use crate::report::Report;
use crate::rule;
use crate::template::TemplateValues;
use dtma_core::spec::{Resources, ServerSpec};
use dtma_core::violation::pointer_token;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What overrides say, once read and judged.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) args: Option<Vec<String>>,
    pub(crate) stop_grace: Option<Duration>,
    pub(crate) resources: Resources,
    pub(crate) tmpfs: Vec<TmpfsPatch>,
    pub(crate) no_network: bool,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) oom_score_adj: Option<i32>,
    /// Soft and hard.
    pub(crate) nofile: Option<(u64, u64)>,
}

/// A tmpfs and where it was asked for.
#[derive(Debug)]
pub(crate) struct TmpfsPatch {
    pub(crate) at: String,
    pub(crate) target: String,
    pub(crate) size: u64,
}

/// What a request is read against.
pub(crate) struct Reader<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) server: &'a ServerSpec,
    pub(crate) template: &'a TemplateValues,
    pub(crate) policy: &'a Policy,
}

impl Reader<'_> {
    /// Reads a server's overrides, reporting everything that is wrong with them.
    pub(crate) fn read(&mut self, at: &str) -> Patch {
        let mut patch = Patch::default();
        let Some(overrides) = &self.server.overrides else { return patch };
        never::scan(self.report, at, overrides);
        self.each(at, overrides, |reader, at, key, value| reader.field(&mut patch, at, key, value));
        patch
    }

    /// Visits every field of an object by its folded name. A name that is there twice in two spellings is refused:
    /// which one the engine would take depends on their order.
    fn each(
        &mut self,
        at: &str,
        object: &Map<String, Value>,
        mut visit: impl FnMut(&mut Self, &str, &str, &Value),
    ) {
        let mut seen = BTreeSet::new();
        for (key, value) in object {
            let at = format!("{at}/{}", pointer_token(key));
            let folded = fold(key);
            visit(self, &at, &folded, value);
            if !seen.insert(folded) {
                let message = format!("{key:?} stands here in another spelling too");
                self.report.refuse(&at, rule::OVERRIDE_DUPLICATE, message);
            }
        }
    }

    fn field(&mut self, patch: &mut Patch, at: &str, key: &str, value: &Value) {
        match key {
            "env" => self.environment(patch, at, value),
            "labels" => self.labels(patch, at, value),
            "cmd" => {
                patch.args = self.words(at, value);
                text::arguments(self.report, at, patch.args.as_deref().unwrap_or_default());
            }
            "entrypoint" => {
                patch.command = self.words(at, value);
                text::command(self.report, at, patch.command.as_deref());
            }
            "stoptimeout" => {
                // Negative is "wait for ever" to an engine.
                let for_ever = value.as_i64().is_some_and(|seconds| seconds < 0);
                let seconds = self.natural(at, value).map(Duration::from_secs);
                patch.stop_grace = if for_ever { Some(Duration::MAX) } else { seconds };
                lifecycle::stop_grace(self.report, at, patch.stop_grace.unwrap_or_default());
            }
            "hostconfig" => {
                if let Some(object) = self.object(at, value) {
                    self.each(at, object, |reader, at, key, value| reader.host_field(patch, at, key, value));
                }
            }
            _ => self.unsupported(at, key, value),
        }
    }

    fn environment(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        for (index, entry) in self.list(at, value).iter().enumerate() {
            let at = format!("{at}/{index}");
            let Some((name, value)) = entry.as_str().and_then(|entry| entry.split_once('=')) else {
                let message = "a variable is written as text, NAME=value";
                self.report.refuse(&at, rule::OVERRIDE_TYPE, message);
                continue;
            };
            text::variable(self.report, &at, self.server, (name, value));
            patch.environment.insert(name.to_owned(), value.to_owned());
        }
    }

    fn labels(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        let Some(object) = self.object(at, value) else { return };
        for (key, value) in object {
            let at = format!("{at}/{}", pointer_token(key));
            let Some(value) = self.string(&at, value) else { continue };
            text::label(self.report, &at, key, value);
            patch.labels.insert(key.clone(), value.to_owned());
        }
    }

    /// Refuses what nobody reads, with the way it is done here when there is one. Where the engine would take the
    /// value for "nothing said", a known field may be there: clients send whole requests.
    fn unsupported(&mut self, at: &str, key: &str, value: &Value) {
        if never::judges(key) {
            return;
        }
        let known = ELSEWHERE.iter().find(|(name, _)| *name == key);
        if known.is_some() && (says_nothing(value) || (STRUCTURES.contains(&key) && all_say_nothing(value))) {
            return;
        }
        let message = "this field of a create request is not supported here";
        match known {
            Some((_, hint)) => self.report.refuse_with(at, rule::OVERRIDE_UNSUPPORTED, message, hint),
            None => self.report.refuse(at, rule::OVERRIDE_UNSUPPORTED, message),
        }
    }
}

/// Fields of a create request that are said in another way, or decided already.
const ELSEWHERE: [(&str, &str); 24] = [
    ("image", "use the server's image"),
    ("user", "a server runs as the image's numeric user, or as 65532; never as root"),
    ("healthcheck", "use the server's health"),
    ("exposedports", "use the server's port"),
    ("portbindings", "use the server's publish"),
    ("publishallports", "use the server's publish"),
    ("volumes", "use the server's mounts"),
    ("restartpolicy", "use the server's restart: the engine's own policy is always \"no\""),
    ("autoremove", "the daemon removes containers itself"),
    ("memoryswap", "swap is never added to memory"),
    ("memoryreservation", "use Memory"),
    ("cpushares", "use NanoCpus"),
    ("cpuquota", "use NanoCpus"),
    ("cpuperiod", "use NanoCpus"),
    ("logconfig", "a stdio server's output is never logged, a tool's log is bounded"),
    ("shmsize", "mount a tmpfs where memory is to be shared"),
    ("hostname", "a container bears the name of its server"),
    ("networkingconfig", "use the server's network"),
    ("tty", "a terminal would mix output and errors"),
    ("openstdin", "a stdio server's standard input is open, a tool's is not"),
    ("attachstdin", "the daemon attaches by itself"),
    ("attachstdout", "the daemon attaches by itself"),
    ("attachstderr", "the daemon attaches by itself"),
    ("stdinonce", "a standard input stays open for as long as its server runs"),
];

/// As the engine's JSON decoder compares names: without regard to case, under Unicode's simple folding (in which
/// the long s is an s and the Kelvin sign a k).
fn fold(key: &str) -> String {
    key.to_uppercase().to_lowercase()
}

/// Fields whose own fields are fixed. Elsewhere the keys of an object are values (`{"/data": {}}` is a volume), so
/// only an empty one says nothing.
const STRUCTURES: [&str; 3] = ["logconfig", "networkingconfig", "healthcheck"];

/// The values an engine cannot tell from an absent field.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn all_say_nothing(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| fields.values().all(says_nothing))
}
