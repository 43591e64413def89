//! Where a client's file is.

use super::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use std::path::PathBuf;

/// What a place is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Home,
    /// `$XDG_CONFIG_HOME`.
    Config,
    /// Where desktop programs keep their settings.
    Applications,
}

/// A file of the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(pub(super) Root, pub(super) &'static str);

/// The user's folders and this program, as `main` found them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Homes {
    pub(crate) home: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
    /// This very program.
    pub(crate) program: Option<PathBuf>,
}

impl Homes {
    fn root(&self, root: Root) -> Option<PathBuf> {
        match root {
            Root::Home => self.home.clone(),
            Root::Applications if cfg!(target_os = "macos") => {
                self.home.as_ref().map(|home| home.join("Library/Application Support"))
            }
            Root::Config | Root::Applications => self.config.clone(),
        }
    }
}

impl Client {
    /// The user's file or, where that is asked for or there is no other, the one of the project in this folder.
    pub(crate) fn file(&self, homes: &Homes, project: bool) -> Result<PathBuf, Failure> {
        match (project, self.user, self.project) {
            (true, _, Some(path)) | (false, None, Some(path)) => Ok(PathBuf::from(path)),
            (false, Some(Place(root, path)), _) => {
                homes.root(root).map(|root| root.join(path)).ok_or_else(|| {
                    Failure::new(Exit::Usage, format!("the file of {} has no place", self.name))
                        .hint("set HOME, or name the file with --file")
                })
            }
            (_, _, None) => {
                Err(Failure::new(Exit::Usage, format!("{} has no file for a project", self.name))
                    .hint("leave out --project, or name the file with --file"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ClientName;
    use super::*;

    #[test]
    fn each_client_has_its_file() {
        let homes = Homes { home: Some("/h".into()), config: Some("/h/.config".into()), program: None };
        let file = |name, project| {
            let file = Client::of(name).unwrap().file(&homes, project);
            file.map(|file| file.display().to_string()).map_err(|error| error.exit())
        };
        let refused = Err(Some(Exit::Usage));
        for (name, user, project) in [
            (ClientName::Claude, ".mcp.json", Ok(".mcp.json")),
            (ClientName::Cursor, "/h/.cursor/mcp.json", Ok(".cursor/mcp.json")),
            (ClientName::Windsurf, "/h/.codeium/windsurf/mcp_config.json", refused),
            (ClientName::Zed, "/h/.config/zed/settings.json", Ok(".zed/settings.json")),
            (ClientName::Codex, "/h/.codex/config.toml", Ok(".codex/config.toml")),
            (ClientName::Gemini, "/h/.gemini/settings.json", Ok(".gemini/settings.json")),
        ] {
            assert_eq!(file(name, false), Ok(user.to_owned()));
            assert_eq!(file(name, true), project.map(str::to_owned));
        }
        let desktop = file(ClientName::ClaudeDesktop, false).unwrap();
        assert!(desktop.ends_with("Claude/claude_desktop_config.json"), "{desktop}");
        assert!(file(ClientName::Vscode, false).unwrap().ends_with("Code/User/mcp.json"));
        assert_eq!(file(ClientName::Vscode, true).unwrap(), ".vscode/mcp.json");
        let nowhere = Client::of(ClientName::Cursor).unwrap().file(&Homes::default(), false);
        assert_eq!(nowhere.unwrap_err().exit(), Some(Exit::Usage));
    }
}
