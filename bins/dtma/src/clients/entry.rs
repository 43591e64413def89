//! One server as a client's file has it, before it is JSON or TOML; and how to know one of ours again.

use super::{Client, Door, Reference};
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

/// One server in a client's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What the client calls it.
    pub(crate) key: String,
    /// The server.
    pub(crate) instance: String,
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
    /// A server's door.
    pub(crate) fn address(&self, instance: &str) -> String {
        format!("{}/gateway/servers/{instance}/mcp", self.url)
    }

    /// How a client writes a server.
    pub(crate) fn entry(&self, client: &Client, key: String, instance: String) -> Entry {
        let fields = match client.door {
            Door::Url { field, typed, token } => {
                let kind = typed.then(|| ("type", Field::Text("http".into())));
                let address = (field, Field::Text(self.address(&instance)));
                kind.into_iter().chain([address, reference(token)]).collect()
            }
            Door::Command { marks } => {
                let marks = marks.iter().map(|(name, text)| (*name, Field::Text((*text).into())));
                marks.chain(self.command(&instance)).collect()
            }
        };
        Entry { key, instance, fields }
    }

    fn command(&self, instance: &str) -> [(&'static str, Field); 2] {
        let mut args = ["mcp", "connect", instance, "--url", self.url].map(str::to_owned).to_vec();
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

    /// The server of this daemon to which an entry of a file leads, if it does.
    pub(super) fn leads_to(&self, entry: &Value) -> Option<String> {
        let addresses = ADDRESSES.iter().filter_map(|field| entry.get(field)?.as_str());
        addresses.filter_map(|address| self.behind(address)).next().or_else(|| self.started(entry))
    }

    fn behind(&self, address: &str) -> Option<String> {
        let path = address.strip_prefix(self.url)?.strip_prefix("/gateway/servers/")?;
        let instance = path.strip_suffix("/mcp")?;
        (!instance.is_empty() && !instance.contains('/')).then(|| instance.to_owned())
    }

    fn started(&self, entry: &Value) -> Option<String> {
        let program = Path::new(entry.get("command")?.as_str()?).file_name()?;
        let args: Vec<&str> = entry.get("args")?.as_array()?.iter().filter_map(Value::as_str).collect();
        let here = args.windows(2).any(|pair| pair == ["--url", self.url]);
        let ["mcp", "connect", instance, ..] = args.as_slice() else { return None };
        (program == "dtma" && here).then(|| (*instance).to_owned())
    }
}

fn reference(token: Reference) -> (&'static str, Field) {
    match token {
        Reference::Header(text) => ("headers", Field::Table(vec![("Authorization", text.to_owned())])),
        Reference::Variable => ("bearer_token_env_var", Field::Text(TOKEN.to_owned())),
    }
}
