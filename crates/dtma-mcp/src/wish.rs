//! What clients ask a server to keep in mind: the level of the log, and resources to watch. A server forgets it when its
//! process ends, so it is remembered here and said again.

use crate::envelope::Message;
use crate::json::{self, member};
use dtma_core::record::Wishes;

/// Resources that one session may watch, and bytes of the URI of one.
const MOST: usize = 256;
const LONGEST: usize = 4096;

/// From the least to the worst.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// How bad something of this level is; `None` for a level that the protocol does not know.
pub(crate) fn rank(level: &str) -> Option<usize> {
    LEVELS.iter().position(|known| *known == level)
}

/// One thing asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    Level(String),
    Watch(String),
    Unwatch(String),
}

impl Wish {
    /// `None`: it is no such request, or one that the server has to judge.
    pub(crate) fn read(request: &Message) -> Option<Self> {
        let text = |name: &str| member(request.raw(request.envelope.params)?, name).and_then(json::read);
        match () {
            () if request.is("logging/setLevel") => {
                text("level").filter(|level: &String| rank(level).is_some()).map(Self::Level)
            }
            () if request.is("resources/subscribe") => text("uri").map(Self::Watch),
            () if request.is("resources/unsubscribe") => text("uri").map(Self::Unwatch),
            () => None,
        }
    }

    /// Why it cannot be remembered.
    pub(crate) fn refusal(&self, wishes: &Wishes) -> Option<String> {
        match self {
            Self::Watch(uri) if uri.len() > LONGEST => Some(format!("the URI has more than {LONGEST} bytes")),
            Self::Watch(uri) if !wishes.watched.contains(uri) && wishes.watched.len() >= MOST => {
                Some(format!("the session watches {MOST} resources already"))
            }
            Self::Watch(_) | Self::Unwatch(_) | Self::Level(_) => None,
        }
    }

    pub(crate) fn apply(&self, wishes: &mut Wishes) {
        match self {
            Self::Level(level) => wishes.log_level = Some(level.clone()),
            Self::Watch(uri) => drop(wishes.watched.insert(uri.clone())),
            Self::Unwatch(uri) => drop(wishes.watched.remove(uri)),
        }
    }
}

/// What all of them together want: the most of the log, and every resource.
pub(crate) fn together<'a>(all: impl Iterator<Item = &'a Wishes>) -> Wishes {
    all.fold(Wishes::default(), |mut together, wishes| {
        let levels = [together.log_level.take(), wishes.log_level.clone()].into_iter().flatten();
        together.log_level = levels.min_by_key(|level| rank(level));
        together.watched.extend(wishes.watched.iter().cloned());
        together
    })
}

/// Whether an update of this resource is for somebody with these wishes: it may be a part of what is watched.
pub(crate) fn is_watched(wishes: &Wishes, uri: &str) -> bool {
    let is_part = |of: &String| {
        uri.strip_prefix(of.as_str())
            .is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with(['/', '#', '?']))
    };
    wishes.watched.iter().any(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(level: Option<&str>, watched: &[&str]) -> Wishes {
        let watched = watched.iter().map(|uri| (*uri).to_owned()).collect();
        Wishes { log_level: level.map(str::to_owned), watched }
    }

    #[test]
    fn all_together_want_the_most() {
        let all = [wishes(Some("error"), &["a"]), wishes(None, &[]), wishes(Some("info"), &["b", "a"])];
        assert_eq!(together(all.iter()), wishes(Some("info"), &["a", "b"]));
        assert_eq!(together([].iter()), Wishes::default());
    }

    #[test]
    fn a_part_of_what_is_watched_is_watched() {
        let some = wishes(None, &["file:///a", "test://b/"]);
        for (uri, watched) in [
            ("file:///a", true),
            ("file:///a/x", true),
            ("file:///a#x", true),
            ("file:///ab", false),
            ("test://b/c", true),
            ("test://b", false),
        ] {
            assert_eq!(is_watched(&some, uri), watched, "{uri}");
        }
    }

    #[test]
    fn what_a_server_would_refuse_is_left_to_it() {
        let read = |text: &str| Wish::read(&Message::read(text.to_owned().into(), 999).unwrap());
        let request =
            |method, params| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        assert_eq!(
            read(&request("logging/setLevel", r#"{"level":"info"}"#)),
            Some(Wish::Level("info".into()))
        );
        assert_eq!(read(&request("logging/setLevel", r#"{"level":"loud"}"#)), None);
        assert_eq!(read(&request("resources/subscribe", r#"{"uri":"a"}"#)), Some(Wish::Watch("a".into())));
        assert_eq!(read(&request("resources/subscribe", r#"{"uri":1}"#)), None);
        assert_eq!(read(&request("tools/call", r#"{"uri":"a","level":"info"}"#)), None);
    }
}
