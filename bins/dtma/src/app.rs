//! What every command works with: the client, where results go, how waiting is shown.

use crate::cli::{Global, ProgressMode, WaitArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::time::Clock;
use dtma_client::types::{GroupView, ServerView, StatusView};
use dtma_client::{Client, Mutation, Wait};
use secrecy::SecretString;
use std::path::Path;

/// What every command works with.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) output: Output,
    pub(crate) progress: ProgressMode,
    pub(crate) clock: Clock,
}

/// What `main` knows of the world.
pub(crate) struct World {
    /// `DTMA_TOKEN`.
    pub(crate) token: Option<String>,
    /// Whether standard output and standard error take colours.
    pub(crate) colours: (bool, bool),
    pub(crate) clock: Clock,
}

impl App {
    pub(crate) fn new(global: &Global, world: World) -> Result<Self, Failure> {
        let mut builder = Client::builder(&global.url);
        if let Some(token) = token(global.token_file.as_deref(), world.token)? {
            builder = builder.token(token);
        }
        Ok(Self {
            client: builder.build()?,
            output: output(global, world.colours),
            progress: if global.quiet { ProgressMode::None } else { global.progress },
            clock: world.clock,
        })
    }

    /// Everything the daemon has.
    pub(crate) async fn status(&self) -> Result<StatusView, Failure> {
        Ok(self.client.get_status().await?)
    }

    /// One group.
    pub(crate) async fn group(&self, name: &str) -> Result<GroupView, Failure> {
        Ok(self.client.get_group(name).await?)
    }
}

/// How results are printed.
pub(crate) fn output(global: &Global, colours: (bool, bool)) -> Output {
    let ink = |on: bool| crate::output::Ink { on: on && !global.no_color };
    Output { format: global.output, quiet: global.quiet, ink: ink(colours.0), remark_ink: ink(colours.1) }
}

/// The file's token, else the environment's.
fn token(file: Option<&Path>, environment: Option<String>) -> Result<Option<SecretString>, Failure> {
    let token = match file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Exit::Usage, format!("the token file {} cannot be read", file.display()))
                .cause(error.to_string())
        })?),
        None => environment,
    };
    match (file, token.as_deref().map(str::trim)) {
        (Some(file), Some("")) => {
            Err(Failure::new(Exit::Usage, format!("the token file {} is empty", file.display())))
        }
        (_, None | Some("")) => Ok(None),
        (_, Some(token)) => Ok(Some(SecretString::from(token))),
    }
}

impl WaitArgs {
    /// The same in the client's words.
    pub(crate) fn wait(self) -> Wait {
        if self.no_wait { Wait::No } else { Wait::Until(self.timeout) }
    }

    pub(crate) fn mutation(self) -> Mutation {
        Mutation { wait: self.wait() }
    }
}

/// Every server of every group.
pub(crate) fn servers(status: &StatusView) -> impl Iterator<Item = &ServerView> {
    status.groups.iter().flat_map(|group| &group.servers)
}

/// The server of that name.
pub(crate) fn server<'a>(status: &'a StatusView, name: &str) -> Result<&'a ServerView, Failure> {
    servers(status).find(|server| server.instance_name == name).ok_or_else(|| {
        let known = servers(status).map(|server| server.instance_name.as_str());
        Failure::new(Exit::NotFound, format!("there is no server {name}")).hint(there_is(known))
    })
}

/// What there is instead of what was asked for.
pub(crate) fn there_is<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.take(20).collect();
    if known.is_empty() {
        "there is nothing yet: dtma up".into()
    } else {
        format!("there is {}", known.join(", "))
    }
}
