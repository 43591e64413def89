//! The clients that `dtma agent config` knows: which file each reads, how a server is written there, and how its token
//! is named without being told.
//!
//! What differs between them is the table [`CLIENTS`]. [`Aim`] is what an entry leads to, [`names()`] says what that is called there, [`decide`] what is
//! to be done, [`jsonc`] and [`toml`] do it to a text of either family, [`place`] and [`replace`] know files.

mod aim;
pub(crate) mod decide;
mod entry;
mod jsonc;
mod names;
pub(crate) mod place;
mod replace;
#[cfg(test)]
mod tests;
mod toml;

pub(crate) use aim::Aim;
pub(crate) use decide::{Order, Outcome};
pub(crate) use entry::{Daemon, Entry, TOKEN};
pub(crate) use names::{name_of_group, names};
pub(crate) use replace::{read, write};

use crate::failure::Failure;
use clap::ValueEnum;
use place::{Place, Root};

/// What can be said behind `--client`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ClientName {
    // Claude Code.
    Claude,
    // Claude Desktop.
    ClaudeDesktop,
    // Cursor.
    Cursor,
    // VS Code.
    Vscode,
    // Windsurf.
    Windsurf,
    // Zed.
    Zed,
    // Codex CLI.
    Codex,
    // Gemini CLI.
    Gemini,
    // Anybody else: a plain list.
    Json,
}

/// How a client's file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// JSON; comments and commas at the end are taken, too.
    Json,
    Toml,
}

/// How a client reaches a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Door {
    /// It speaks Streamable HTTP itself.
    Url {
        /// What the address is called.
        field: &'static str,
        /// Whether it wants to be told that this is HTTP.
        typed: bool,
        token: Reference,
    },
    /// It starts a command and speaks to that.
    Command {
        /// What else has to stand in the entry.
        marks: &'static [(&'static str, &'static str)],
    },
}

/// How an entry names the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reference {
    /// As the value of the header `Authorization`.
    Header(&'static str),
    /// By the variable's name.
    Variable,
}

/// One client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Client {
    /// Its name, for people.
    pub(crate) name: &'static str,
    user: Option<Place>,
    project: Option<&'static str>,
    /// Under which name the file keeps servers.
    section: &'static str,
    syntax: Syntax,
    door: Door,
    /// Whether names of servers may have an underscore.
    underscores: bool,
    /// It asks its user for the token: the file has to say so in a list of inputs.
    pub(crate) asks: bool,
}

/// Most of them.
const USUAL: Client = Client {
    name: "",
    user: None,
    project: None,
    section: "mcpServers",
    syntax: Syntax::Json,
    door: Door::Command { marks: &[] },
    underscores: true,
    asks: false,
};

const CLIENTS: [(ClientName, Client); 8] = [
    (
        ClientName::Claude,
        Client {
            name: "Claude Code",
            project: Some(".mcp.json"),
            door: Door::Url { field: "url", typed: true, token: Reference::Header("Bearer ${DTMA_TOKEN}") },
            ..USUAL
        },
    ),
    (
        ClientName::ClaudeDesktop,
        Client {
            name: "Claude Desktop",
            user: Some(Place(Root::Applications, "Claude/claude_desktop_config.json")),
            ..USUAL
        },
    ),
    (
        ClientName::Cursor,
        Client {
            name: "Cursor",
            user: Some(Place(Root::Home, ".cursor/mcp.json")),
            project: Some(".cursor/mcp.json"),
            door: Door::Url {
                field: "url",
                typed: false,
                token: Reference::Header("Bearer ${env:DTMA_TOKEN}"),
            },
            ..USUAL
        },
    ),
    (
        ClientName::Vscode,
        Client {
            name: "VS Code",
            user: Some(Place(Root::Applications, "Code/User/mcp.json")),
            project: Some(".vscode/mcp.json"),
            section: "servers",
            door: Door::Url {
                field: "url",
                typed: true,
                token: Reference::Header("Bearer ${input:dtma-token}"),
            },
            asks: true,
            ..USUAL
        },
    ),
    (
        ClientName::Windsurf,
        Client {
            name: "Windsurf",
            user: Some(Place(Root::Home, ".codeium/windsurf/mcp_config.json")),
            door: Door::Url {
                field: "serverUrl",
                typed: false,
                token: Reference::Header("Bearer ${env:DTMA_TOKEN}"),
            },
            ..USUAL
        },
    ),
    (
        ClientName::Zed,
        Client {
            name: "Zed",
            user: Some(Place(Root::Config, "zed/settings.json")),
            project: Some(".zed/settings.json"),
            section: "context_servers",
            door: Door::Command { marks: &[("source", "custom")] },
            ..USUAL
        },
    ),
    (
        ClientName::Codex,
        Client {
            name: "Codex",
            user: Some(Place(Root::Home, ".codex/config.toml")),
            project: Some(".codex/config.toml"),
            section: "mcp_servers",
            syntax: Syntax::Toml,
            door: Door::Url { field: "url", typed: false, token: Reference::Variable },
            ..USUAL
        },
    ),
    (
        ClientName::Gemini,
        Client {
            name: "Gemini CLI",
            user: Some(Place(Root::Home, ".gemini/settings.json")),
            project: Some(".gemini/settings.json"),
            door: Door::Url {
                field: "httpUrl",
                typed: false,
                token: Reference::Header("Bearer $DTMA_TOKEN"),
            },
            // It takes everything before an underscore for the name.
            underscores: false,
            ..USUAL
        },
    ),
];

impl Client {
    /// The client of that name; nothing for the list that is nobody's.
    pub(crate) fn of(name: ClientName) -> Option<Self> {
        CLIENTS.iter().find(|(known, _)| *known == name).map(|(_, client)| *client)
    }

    /// True when it starts a command.
    pub(crate) fn starts_a_command(&self) -> bool {
        matches!(self.door, Door::Command { .. })
    }

    /// Does what is ordered to the text of a file, whose name is for people.
    pub(crate) fn change(&self, file: &str, text: &str, order: &Order<'_>) -> Result<Outcome, Failure> {
        match self.syntax {
            Syntax::Json => jsonc::change(self, file, text, order),
            Syntax::Toml => toml::change(self, file, text, order),
        }
    }
}
