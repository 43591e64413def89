//! Four providers as they are: where they are, what they want, and what servers call their tokens.

use super::metadata::Metadata;
use http::Uri;

/// A provider that needs no configuration but a client's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// What it is called in configurations.
    pub name: &'static str,
    /// The names under which MCP servers expect its access token in their environment.
    pub environment: &'static [&'static str],
    /// Scopes that are always asked for.
    pub scopes: &'static [&'static str],
    /// What stands between two scopes.
    pub separator: &'static str,
    /// What it wants to know when a person is sent to it.
    pub extra: &'static [(&'static str, &'static str)],
    /// It takes resource indicators (RFC 8707); others refuse what they do not know.
    pub resource: bool,
    issuer: Option<&'static str>,
    authorization: &'static str,
    token: &'static str,
    device: Option<&'static str>,
    revocation: Option<&'static str>,
}

/// All, by name.
pub const PRESETS: [Preset; 4] = [
    // Tokens of OAuth applications live until they are revoked; those of GitHub Apps eight hours. Ending a grant takes
    // a request of GitHub's own, which is not made here.
    Preset {
        name: "github",
        environment: &["GITHUB_TOKEN", "GH_TOKEN", "GITHUB_PERSONAL_ACCESS_TOKEN"],
        scopes: &[],
        separator: " ",
        extra: &[],
        resource: false,
        issuer: Some("https://github.com/login/oauth"),
        authorization: "https://github.com/login/oauth/authorize",
        token: "https://github.com/login/oauth/access_token",
        device: Some("https://github.com/login/device/code"),
        revocation: None,
    },
    // Without both of these there is no refresh token, or only the first time.
    Preset {
        name: "google",
        environment: &["GOOGLE_ACCESS_TOKEN"],
        scopes: &[],
        separator: " ",
        extra: &[("access_type", "offline"), ("prompt", "consent")],
        resource: false,
        issuer: Some("https://accounts.google.com"),
        authorization: "https://accounts.google.com/o/oauth2/v2/auth",
        token: "https://oauth2.googleapis.com/token",
        device: Some("https://oauth2.googleapis.com/device/code"),
        revocation: Some("https://oauth2.googleapis.com/revoke"),
    },
    // The issuer depends on whose account it is, so none is demanded; a grant is ended in the account's own pages.
    Preset {
        name: "microsoft",
        environment: &["MICROSOFT_ACCESS_TOKEN", "MS_GRAPH_TOKEN"],
        scopes: &["offline_access"],
        separator: " ",
        extra: &[],
        resource: false,
        issuer: None,
        authorization: "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
        token: "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        device: Some("https://login.microsoftonline.com/common/oauth2/v2.0/devicecode"),
        revocation: None,
    },
    // Tokens are renewed only where the application has token rotation switched on.
    Preset {
        name: "slack",
        environment: &["SLACK_BOT_TOKEN"],
        scopes: &[],
        separator: ",",
        extra: &[],
        resource: false,
        issuer: None,
        authorization: "https://slack.com/oauth/v2/authorize",
        token: "https://slack.com/api/oauth.v2.access",
        device: None,
        revocation: Some("https://slack.com/api/auth.revoke"),
    },
];

/// The preset of that name.
#[must_use]
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}

impl Preset {
    /// Its endpoints.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata {
            issuer: self.issuer.map(str::to_owned),
            authorization: Some(Uri::from_static(self.authorization)),
            token: Uri::from_static(self.token),
            device: self.device.map(Uri::from_static),
            revocation: self.revocation.map(Uri::from_static),
            returns_issuer: false,
        }
    }

    /// These scopes and those that are always asked for, written as it wants them.
    #[must_use]
    pub fn scope(&self, wanted: &[String]) -> String {
        let mut scopes: Vec<&str> = wanted.iter().map(String::as_str).collect();
        let missing = self.scopes.iter().filter(|scope| !wanted.iter().any(|one| one == *scope));
        scopes.extend(missing);
        scopes.join(self.separator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::address;

    #[test]
    fn every_preset_is_found_and_has_places_for_secrets_only() {
        for known in PRESETS {
            let found = preset(known.name).unwrap();
            let Metadata { authorization, token, device, revocation, .. } = found.metadata();
            for uri in [authorization, Some(token), device, revocation].into_iter().flatten() {
                assert!(
                    address(&uri.to_string()).is_ok_and(|uri| uri.scheme_str() == Some("https")),
                    "{uri}"
                );
            }
            assert!(!found.environment.is_empty());
        }
        assert_eq!(preset("gitlab"), None);
    }

    #[test]
    fn scopes_are_written_as_each_wants_them() {
        let scope = |name: &str, wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            preset(name).unwrap().scope(&wanted)
        };
        assert_eq!(scope("slack", &["chat:write", "users:read"]), "chat:write,users:read");
        assert_eq!(scope("github", &["repo", "read:org"]), "repo read:org");
        assert_eq!(scope("microsoft", &["Mail.Read"]), "Mail.Read offline_access");
        assert_eq!(scope("microsoft", &["offline_access"]), "offline_access");
    }
}
