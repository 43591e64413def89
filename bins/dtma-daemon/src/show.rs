//! `config show`: every setting as it holds, and who said so. Secrets are never shown.

use crate::cli::{SettingArgs, ShowFormat};
use crate::config_file::ConfigFile;
use crate::engine_settings::docker_variable;
use anyhow::Result;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args};
use serde_json::{Value, json};
use std::path::Path;

/// Settings and what holds when nobody says anything; one that is not listed is unset then.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[
    ("listen", crate::settings::LISTEN),
    ("state_dir", crate::settings::STATE_DIR),
    ("runtime_dir", crate::settings::RUNTIME_DIR),
    ("conf", crate::settings::CONF),
    ("docker_host", "unix:///var/run/docker.sock"),
    ("engine_read_timeout_ms", "5000"),
    ("engine_change_timeout_ms", "30000"),
    ("pull_stall_ms", "60000"),
    ("pull_min_free_mb", "512"),
    ("shims", crate::settings::SHIMS),
    ("image_gc", crate::settings::IMAGE_GC),
    ("image_gc_min_age", crate::settings::IMAGE_GC_MIN_AGE),
    ("image_gc_high_percent", crate::settings::IMAGE_GC_HIGH),
    ("image_gc_low_percent", crate::settings::IMAGE_GC_LOW),
    ("network_pool", "10.249.0.0/16"),
    ("log_format", "human"),
    ("log", "info"),
    ("log_file_size", crate::settings::LOG_FILE_SIZE),
    ("log_files", crate::settings::LOG_FILES),
    ("rate_mutations", "10/10s"),
    ("rate_reads", "off"),
    ("rate_gateway", "off"),
    ("rate_failures", "30/60s"),
    ("max_sessions", crate::settings::MAX_SESSIONS),
    ("session_idle", crate::settings::SESSION_IDLE),
    ("call_timeout", crate::settings::CALL_TIMEOUT),
    ("max_message_mb", crate::settings::MAX_MESSAGE_MB),
    ("max_connections", "1024"),
    ("max_connections_per_peer", "512"),
    ("access_log_size", "67108864"),
    ("audit_max_mb", "10"),
    ("audit_files", "10"),
    ("backend_heartbeat_path", crate::settings::HEARTBEAT_PATH),
];

/// What is shown of a secret.
const HIDDEN: &str = "***";

/// One setting as it holds.
struct Shown {
    name: String,
    value: Value,
    origin: String,
}

/// Prints all settings.
///
/// # Errors
/// The settings file cannot be read.
pub(crate) fn show(args: &SettingArgs, matches: &ArgMatches, origin: bool, format: ShowFormat) -> Result<()> {
    let path = args.config.as_deref().unwrap_or(Path::new(crate::settings::CONFIG));
    let file = ConfigFile::read(path, args.config.is_none()).map_err(anyhow::Error::msg)?;
    let shown = all(matches, &file);
    match format {
        ShowFormat::Toml => shown.iter().for_each(|setting| println!("{}", setting.line(origin))),
        ShowFormat::Json => {
            println!("{:#}", Value::Object(shown.iter().map(|setting| setting.entry(origin)).collect()));
        }
    }
    Ok(())
}

fn all(matches: &ArgMatches, file: &ConfigFile) -> Vec<Shown> {
    let known = SettingArgs::augment_args(clap::Command::new("settings"));
    let names = known.get_arguments().filter(|arg| arg.get_long().is_some());
    let mut shown: Vec<_> = names.map(|arg| Shown::of(arg, matches, file)).collect();
    let conf = shown.iter().find(|setting| setting.name == "conf").and_then(|setting| setting.value.as_str());
    let conf = Path::new(conf.unwrap_or_default()).to_owned();
    if let Some(backend) =
        shown.iter_mut().find(|setting| setting.name == "backend_url" && setting.value.is_null())
        && let Some((url, origin)) = crate::settings::originals(&conf)
    {
        (backend.value, backend.origin) = (hidden("backend_url", json!(url)), origin);
    }
    let tokens = crate::tokens::given_names(&conf);
    shown.extend(tokens.into_iter().map(Shown::token));
    shown
}

impl Shown {
    fn of(arg: &clap::Arg, matches: &ArgMatches, file: &ConfigFile) -> Self {
        let id = arg.get_id().as_str();
        let (value, origin) = match (matches.value_source(id), file.value(id)) {
            (Some(ValueSource::CommandLine), _) => {
                (said(arg, matches), format!("flag --{}", arg.get_long().unwrap_or(id)))
            }
            (Some(ValueSource::EnvVariable), _) => {
                let name = arg.get_env().unwrap_or_default().to_string_lossy();
                (said(arg, matches), format!("env {name}"))
            }
            (_, Some(value)) => {
                (json!(value), file.origin(id).trim_end_matches(&format!(": {id}")).to_owned())
            }
            (_, None) => fallback(id, arg),
        };
        Self { name: id.to_owned(), value: hidden(id, value), origin }
    }

    fn token(origin: String) -> Self {
        Self { name: "token".to_owned(), value: json!(HIDDEN), origin }
    }

    /// A line of TOML; what cannot stand in the file is a comment.
    fn line(&self, origin: bool) -> String {
        let name = &self.name;
        let said = match &self.value {
            Value::Null => format!("# {name} is not set"),
            _ if name == "token" || name == "config" => format!("# {name} = {}", self.value),
            // The JSON of text, numbers, truth values and lists of them is TOML too.
            value => format!("{name} = {value}"),
        };
        if origin { format!("{said}  # {}", self.origin) } else { said }
    }

    fn entry(&self, origin: bool) -> (String, Value) {
        let value =
            if origin { json!({"value": self.value, "origin": self.origin}) } else { self.value.clone() };
        let name = if self.name == "token" { format!("token ({})", self.origin) } else { self.name.clone() };
        (name, value)
    }
}

/// A value of the command line or the environment, in the type the file would have.
fn said(arg: &clap::Arg, matches: &ArgMatches) -> Value {
    let id = arg.get_id().as_str();
    let mut texts = matches.get_raw(id).into_iter().flatten().map(|text| text.to_string_lossy().into_owned());
    match arg.get_action() {
        ArgAction::SetTrue => json!(matches.get_flag(id)),
        ArgAction::Append => json!(texts.collect::<Vec<_>>()),
        _ => texts.next_back().map_or(Value::Null, |text| match text.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(text),
        }),
    }
}

fn fallback(id: &str, arg: &clap::Arg) -> (Value, String) {
    let of_systemd = || crate::settings::of_systemd().filter(|_| id == "runtime_dir");
    if let Some((name, said)) = of_docker(id).or_else(of_systemd) {
        return (json!(said), format!("env {name}"));
    }
    let known = DEFAULTS.iter().find(|(name, _)| *name == id).map(|(_, value)| match value.parse::<u64>() {
        Ok(number) => json!(number),
        Err(_) => json!(value),
    });
    let of_flag = matches!(arg.get_action(), ArgAction::SetTrue).then(|| json!(false));
    (known.or(of_flag).unwrap_or(Value::Null), "default".to_owned())
}

/// What Docker's own variables say.
fn of_docker(id: &str) -> Option<(&'static str, String)> {
    let name = match id {
        "docker_host" => "DOCKER_HOST",
        "docker_cert_path" if docker_variable("DOCKER_TLS_VERIFY").is_some() => "DOCKER_CERT_PATH",
        _ => return None,
    };
    Some((name, docker_variable(name)?))
}

/// A setting that is a secret, or an address with one in it. A file's name is none.
fn hidden(id: &str, value: Value) -> Value {
    let is_secret = ["token", "password", "secret"].iter().any(|word| id.contains(word));
    if is_secret && !id.ends_with("_file") && !value.is_null() {
        return json!(HIDDEN);
    }
    let Some((scheme, rest)) = value.as_str().and_then(|text| text.split_once("://")) else { return value };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => json!(format!("{scheme}://{HIDDEN}@{host}{}", &rest[authority.len()..])),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn lines(words: &[&str], text: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.toml");
        std::fs::write(&path, text).unwrap();
        let matches = Cli::command().get_matches_from([&["dtma-daemon"], words].concat());
        let shown = all(&matches, &ConfigFile::read(&path, false).unwrap());
        let home = format!("{}/", dir.path().display());
        shown.iter().map(|setting| setting.line(true).replace(&home, "")).collect()
    }

    #[track_caller]
    fn check(lines: &[String], expected: &str) {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
    }

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let shown =
            lines(&["--listen", "127.0.0.1:1", "--allowed-host", "a"], "\nlog = \"debug\"\nlisten = \"x\"\n");
        check(&shown, "listen = \"127.0.0.1:1\"  # flag --listen");
        check(&shown, "allowed_hosts = [\"a\"]  # flag --allowed-host");
        check(&shown, "log = \"debug\"  # d.toml:2");
        check(&shown, "state_dir = \"/var/lib/dtma\"  # default");
        check(&shown, "dev_no_auth = false  # default");
        check(&shown, "# policy is not set  # default");
    }

    #[test]
    fn no_secret_is_shown() {
        assert_eq!(hidden("backend_token", json!("s3cret")), json!(HIDDEN));
        assert_eq!(hidden("token_file", json!("/a/file")), json!("/a/file"));
        assert_eq!(hidden("docker_host", json!("tcp://u:s3cret@h:1/x")), json!("tcp://***@h:1/x"));
    }

    /// What holds for these when nobody says anything is nothing.
    const UNSET: [&str; 21] = [
        "access_log",
        "allowed_hosts",
        "audit_arguments",
        "authorization_servers",
        "backend_ca_file",
        "backend_token_file",
        "backend_url",
        "call_timeout_max",
        "config",
        "dev_no_auth",
        "docker_cert_path",
        "insecure_http",
        "log_file",
        "policy",
        "public_url",
        "registry_auth",
        "require_connections",
        "templates",
        "tls_cert",
        "tls_client_ca",
        "tls_key",
    ];

    #[test]
    fn every_setting_has_the_default_that_its_help_promises_or_none() {
        let known = SettingArgs::augment_args(clap::Command::new("settings"));
        for arg in known.get_arguments() {
            let name = arg.get_id().as_str();
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            match DEFAULTS.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => {
                    let promised =
                        help.split_once("[default: ").is_some_and(|(_, text)| text.contains(value));
                    assert!(promised, "--help of {name} does not say that {value} is its default");
                    assert!(!UNSET.contains(&name), "{name} has a default and has none");
                }
                None => assert!(UNSET.contains(&name), "{name} is missing in DEFAULTS"),
            }
        }
    }

    #[test]
    fn every_default_and_none_is_that_of_a_setting() {
        let known = SettingArgs::augment_args(clap::Command::new("settings"));
        let is_known = |name: &str| known.get_arguments().any(|arg| arg.get_id() == name);
        for name in DEFAULTS.iter().map(|(name, _)| *name).chain(UNSET) {
            assert!(is_known(name), "{name}");
        }
    }
}
