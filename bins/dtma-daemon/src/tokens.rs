//! Who may ask: tokens from the environment, from `/etc/dtma.conf` and from the token file, which is watched.

use crate::cli::TokenCommand;
use crate::settings::Settings;
use crate::token_file::{Kept, TokenFile};
use crate::watched::Watched;
use anyhow::{Context, Result};
use dtma_api::auth::{Auth, Scope, Token};
use std::path::Path;

pub(crate) const CONF_KEY: &str = "DTMA_AUTH_TOKEN";
/// Environment variables that hold a token.
const VARIABLES: [&str; 2] = ["DTMA_BEARER_TOKEN", "BACKEND_TO_DTMA_API_KEY"];
/// Shorter ones can be guessed.
const SHORT: usize = 16;

/// There is no token at all.
#[derive(Debug, thiserror::Error)]
#[error(
    "no token is configured, so nobody could ask anything: set DTMA_BEARER_TOKEN, or make one with `dtma-daemon token \
     create NAME`, or (for development, on loopback) give --dev-no-auth"
)]
pub(crate) struct NoToken;

/// Who may ask, and the files that say so.
pub(crate) fn auth(settings: &Settings) -> Result<(Auth, Watched)> {
    let file = TokenFile::in_dir(&settings.state_dir);
    let files = Watched::new([file.path().to_owned(), settings.conf.clone()]);
    if settings.dev_no_auth {
        tracing::warn!("--dev-no-auth: everybody on this machine may do everything");
        return Ok((Auth::disabled(), files));
    }
    let tokens = all(settings)?;
    if tokens.is_empty() {
        return Err(NoToken.into());
    }
    Ok((Auth::tokens(tokens).needing_connections(settings.require_connections), files))
}

/// Takes up changes of the files for as long as it is polled.
pub(crate) async fn keep_fresh(auth: &Auth, settings: &Settings, files: &mut Watched) {
    loop {
        files.changed().await;
        match all(settings) {
            Ok(tokens) => {
                tracing::info!(tokens = tokens.len(), "the tokens changed");
                auth.replace(tokens);
            }
            Err(error) => {
                tracing::error!("the tokens changed and cannot be used; the old ones hold: {error:#}");
            }
        }
    }
}

fn all(settings: &Settings) -> Result<Vec<Token>> {
    let mut tokens = given(&settings.conf)?;
    tokens.extend(TokenFile::in_dir(&settings.state_dir).read()?.into_iter().map(Kept::into_token));
    Ok(tokens)
}

/// Tokens given in clear: they hold every right, as those of the original did.
#[expect(
    clippy::disallowed_methods,
    reason = "the contract names these variables; they are read here and nowhere else"
)]
fn given(conf: &Path) -> Result<Vec<Token>> {
    let variables = VARIABLES.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let conf = conf_value(conf, CONF_KEY)?.map(|token| (CONF_KEY, token));
    let named = variables.chain(conf).filter(|(_, token)| !token.trim().is_empty());
    let tokens = named.map(|(name, token)| {
        if token.trim().len() < SHORT {
            tracing::warn!(name, "this token is short enough to be guessed");
        }
        Token::new(name, token.trim(), [Scope::Admin])
    });
    Ok(tokens.collect())
}

/// Where tokens in clear are given, without the tokens. A file that cannot be read gives none.
pub(crate) fn given_names(conf: &Path) -> Vec<String> {
    let said = |token: Token| {
        if token.name == CONF_KEY { conf.display().to_string() } else { format!("env {}", token.name) }
    };
    given(conf).unwrap_or_default().into_iter().map(said).collect()
}

/// The value of a key in a file of shell assignments, `DTMA_AUTH_TOKEN=…` and the like.
pub(crate) fn conf_value(path: &Path, key: &str) -> Result<Option<String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let value = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let value = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    Ok(text.lines().find_map(value))
}

/// `dtma-daemon token …`
pub(crate) fn manage(command: &TokenCommand, settings: &Settings) -> Result<()> {
    let file = TokenFile::in_dir(&settings.state_dir);
    match command {
        TokenCommand::Create { name, scopes, expires } => {
            let token = file
                .create(name, scopes, *expires)
                .with_context(|| format!("cannot make the token {name:?}"))?;
            println!("{token}");
        }
        TokenCommand::Rotate { name, overlap, expires } => {
            let token = file
                .rotate(name, *overlap, *expires)
                .with_context(|| format!("cannot rotate the token {name:?}"))?;
            println!("{token}");
        }
        TokenCommand::Ls => file.read()?.iter().for_each(|kept| println!("{kept}")),
        TokenCommand::Revoke { name } => file.revoke(name)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_file_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dtma.conf");
        std::fs::write(&path, "# a comment\nOTHER=1\nDTMA_AUTH_TOKEN=\"se=cret\"\n").unwrap();
        let token = |path: &Path| conf_value(path, CONF_KEY).unwrap();
        assert_eq!(token(&path).as_deref(), Some("se=cret"));
        std::fs::write(&path, "#DTMA_AUTH_TOKEN=no\nexport DTMA_AUTH_TOKEN = yes\n").unwrap();
        assert_eq!(token(&path).as_deref(), Some("yes"));
        assert_eq!(token(&dir.path().join("absent")), None);
        assert!(conf_value(dir.path(), CONF_KEY).is_err(), "what is there and cannot be read is a mistake");
    }
}
