//! One server as a client's file has it, before it is JSON or TOML; and how to know one of ours again.

use super::{Aim, Client, Door, Reference};
use crate::app::TlsFiles;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The variable that holds the token.
pub(crate) const TOKEN: &str = "DTMA_TOKEN";
/// Every field that an entry of ours has with one client or another. Others are their user's.
pub(super) const OURS: [&str; 9] =
    ["type", "source", "url", "serverUrl", "httpUrl", "headers", "bearer_token_env_var", "command", "args"];
/// What an address is called by one client or another.
const ADDRESSES: [&str; 3] = ["url", "serverUrl", "httpUrl"];

/// A value in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Text(String),
    List(Vec<String>),
    Table(Vec<(&'static str, String)>),
}

impl Field {
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(text.as_str()),
            Self::List(texts) => Value::from(texts.as_slice()),
            Self::Table(pairs) => {
                let pairs = pairs.iter().map(|(name, text)| ((*name).to_owned(), text.as_str().into()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }
}

/// One server, or one group as a server, in a client's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What the client calls it.
    pub(crate) key: String,
    /// What it is.
    pub(crate) aim: Aim,
    pub(super) fields: Vec<(&'static str, Field)>,
}

/// The daemon as a client finds it.
#[derive(Debug, Clone)]
pub(crate) struct Daemon<'a> {
    /// Its address, without a slash at the end.
    pub(crate) url: &'a str,
    /// What `dtma` needs to believe it.
    pub(crate) files: &'a TlsFiles,
    /// Where `dtma` is.
    pub(crate) program: &'a Path,
    /// Where a started `dtma` finds the agent's token.
    pub(crate) token_file: Option<PathBuf>,
}

impl Daemon<'_> {
    /// Its door there.
    pub(crate) fn address(&self, aim: &Aim) -> String {
        format!("{}{}", self.url, aim.path())
    }

    /// How a client writes it.
    pub(crate) fn entry(&self, client: &Client, key: String, aim: Aim) -> Entry {
        let fields = match client.door {
            Door::Url { field, typed, token } => {
                let kind = typed.then(|| ("type", Field::Text("http".into())));
                let address = (field, Field::Text(self.address(&aim)));
                kind.into_iter().chain([address, reference(token)]).collect()
            }
            Door::Command { marks } => {
                let marks = marks.iter().map(|(name, text)| (*name, Field::Text((*text).into())));
                marks.chain(self.command(&aim)).collect()
            }
        };
        Entry { key, aim, fields }
    }

    fn command(&self, aim: &Aim) -> [(&'static str, Field); 2] {
        let mut args = ["mcp", "connect"].map(str::to_owned).to_vec();
        args.extend(aim.args());
        args.extend(["--url", self.url].map(str::to_owned));
        let files = [
            ("--token-file", self.token_file.as_ref()),
            ("--ca-file", self.files.ca.as_ref()),
            ("--cert-file", self.files.cert.as_ref()),
            ("--key-file", self.files.key.as_ref()),
        ];
        for (option, file) in files {
            let file = file.map(|file| file.display().to_string());
            args.extend(file.into_iter().flat_map(|file| [option.to_owned(), file]));
        }
        [("command", Field::Text(self.program.display().to_string())), ("args", Field::List(args))]
    }

    /// What of this daemon an entry of a file leads to, if it does.
    pub(super) fn leads_to(&self, entry: &Value) -> Option<Aim> {
        let addresses = ADDRESSES.iter().filter_map(|field| entry.get(field)?.as_str());
        addresses.filter_map(|address| self.behind(address)).next().or_else(|| self.started(entry))
    }

    fn behind(&self, address: &str) -> Option<Aim> {
        Aim::at(address.strip_prefix(self.url)?)
    }

    fn started(&self, entry: &Value) -> Option<Aim> {
        let program = Path::new(entry.get("command")?.as_str()?).file_name()?;
        let args: Vec<&str> = entry.get("args")?.as_array()?.iter().filter_map(Value::as_str).collect();
        let here = args.windows(2).any(|pair| pair == ["--url", self.url]);
        let ["mcp", "connect", rest @ ..] = args.as_slice() else { return None };
        Aim::of_args(rest).filter(|_| program == "dtma" && here)
    }
}

fn reference(token: Reference) -> (&'static str, Field) {
    match token {
        Reference::Header(text) => ("headers", Field::Table(vec![("Authorization", text.to_owned())])),
        Reference::Variable => ("bearer_token_env_var", Field::Text(TOKEN.to_owned())),
    }
}
