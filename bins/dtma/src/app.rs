//! What every command works with: the client, where results go, how waiting is shown.

use crate::cli::{Format, Global, ProgressMode, WaitArgs};
use crate::clients::place::Homes;
use crate::contexts::{Context, Contexts, private_token};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::output::time::Clock;
use dtma_client::types::{GroupView, ServerView, StatusView};
use dtma_client::{Client, ClientBuilder, Mutation, Wait};
use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// Where a daemon is when nobody says.
const DEFAULT_URL: &str = "http://127.0.0.1:30000";

/// What every command works with.
pub(crate) struct App {
    pub(crate) client: Client,
    pub(crate) output: Output,
    pub(crate) progress: ProgressMode,
    pub(crate) clock: Clock,
    /// What proves who asks, so that it can be kept out of what is collected.
    pub(crate) token: Option<SecretString>,
    /// The file of contexts, where there is a place for one.
    pub(crate) contexts: Option<PathBuf>,
    /// What https needs.
    pub(crate) files: TlsFiles,
    /// The user's folders.
    pub(crate) homes: Homes,
}

/// What `main` knows of the world.
pub(crate) struct World {
    /// `DTMA_TOKEN`.
    pub(crate) token: Option<String>,
    /// The file of contexts, where there is a place for one.
    pub(crate) contexts: Option<PathBuf>,
    /// The user's folders.
    pub(crate) homes: Homes,
    /// Nobody watches: this runs on a CI machine.
    pub(crate) ci: bool,
    /// The two outputs.
    pub(crate) screens: Screens,
    pub(crate) clock: Clock,
}

/// What the two outputs can show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screens {
    /// Whether standard output and standard error take colours.
    pub(crate) colours: (bool, bool),
    /// How many columns standard output has, when it is a terminal.
    pub(crate) width: Option<usize>,
}

impl App {
    pub(crate) fn new(global: &Global, world: &World) -> Result<Self, Failure> {
        let contexts = Contexts::load(world.contexts.as_deref())?;
        let context = contexts.meant(global.context.as_deref(), global.url.is_some())?;
        let url = global.url.as_deref().or(context.map(|context| context.url.as_str()));
        let files = TlsFiles::said(global, context);
        let mut builder = trusting(Client::builder(url.unwrap_or(DEFAULT_URL)), &files)?;
        let token = token(global.token_file.as_deref(), world.token.as_deref(), context)?;
        if let Some(token) = &token {
            builder = builder.token(token.clone());
        }
        Ok(Self {
            client: builder.build()?,
            output: output(global, world.screens),
            progress: progress(global, world.ci),
            clock: world.clock,
            token,
            contexts: world.contexts.clone(),
            files,
            homes: world.homes.clone(),
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

/// A live view is for somebody who watches.
fn progress(global: &Global, ci: bool) -> ProgressMode {
    match global.progress {
        _ if global.quiet => ProgressMode::None,
        ProgressMode::Auto if ci => ProgressMode::Plain,
        said => said,
    }
}

/// How results are printed.
pub(crate) fn output(global: &Global, screens: Screens) -> Output {
    let ink = |on: bool, width| crate::output::Ink { on: on && !global.no_color, width };
    // Who asks for everything gets it, however long its lines are.
    let width = screens.width.filter(|_| global.output == Format::Table);
    Output {
        format: global.output,
        quiet: global.quiet,
        ink: ink(screens.colours.0, width),
        remark_ink: ink(screens.colours.1, None),
    }
}

/// The files that https needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct TlsFiles {
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
}

impl TlsFiles {
    /// Each from its option or the environment, else from the context.
    pub(crate) fn said(global: &Global, context: Option<&Context>) -> Self {
        let file = |said: &Option<PathBuf>, kept: fn(&Context) -> Option<&PathBuf>| {
            said.clone().or_else(|| context.and_then(kept).cloned())
        };
        Self {
            ca: file(&global.ca_file, |context| context.ca_file.as_ref()),
            cert: file(&global.cert_file, |context| context.cert_file.as_ref()),
            key: file(&global.key_file, |context| context.key_file.as_ref()),
        }
    }
}

pub(crate) fn trusting(mut builder: ClientBuilder, files: &TlsFiles) -> Result<ClientBuilder, Failure> {
    if let Some(ca) = &files.ca {
        builder = builder.certificate_authority(pem(ca)?);
    }
    if let (Some(certificate), Some(key)) = (&files.cert, &files.key) {
        builder = builder.identity(pem(certificate)?, pem(key)?);
    }
    Ok(builder)
}

fn pem(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| {
        Failure::new(Exit::Usage, format!("the file {} cannot be read", file.display()))
            .cause(error.to_string())
    })
}

/// The option's file, else the environment, else the context's file.
fn token(
    file: Option<&Path>,
    environment: Option<&str>,
    context: Option<&Context>,
) -> Result<Option<SecretString>, Failure> {
    let said = said_token(file, environment)?;
    match (said, context.and_then(|context| context.token_file.as_deref())) {
        (Some(said), _) => Ok(Some(said)),
        (None, Some(file)) => private_token(file).map(Some),
        (None, None) => Ok(None),
    }
}

fn said_token(file: Option<&Path>, environment: Option<&str>) -> Result<Option<SecretString>, Failure> {
    let token = match file {
        Some(file) => Some(std::fs::read_to_string(file).map_err(|error| {
            Failure::new(Exit::Usage, format!("the token file {} cannot be read", file.display()))
                .cause(error.to_string())
        })?),
        None => environment.map(str::to_owned),
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
        Mutation { wait: self.wait(), ..Mutation::default() }
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
