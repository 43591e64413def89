//! HashiCorp's KV engine as its API documentation says it is, with tokens and AppRole.

use super::server::{Asked, Said, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(crate) struct State {
    /// The versions of each path; `Null` is a deleted one.
    kept: BTreeMap<String, Vec<Value>>,
    /// Tokens that are good.
    pub(crate) tokens: Vec<String>,
    pub(crate) logins: usize,
    pub(crate) renewals: usize,
    /// Seconds of a login's lease.
    pub(crate) lease: i64,
    /// What was asked, as method and path.
    pub(crate) asked: Vec<String>,
    pub(crate) namespace: String,
    /// Answered instead.
    pub(crate) denies: bool,
}

pub(crate) struct Kv {
    pub(crate) server: Server,
    pub(crate) state: Arc<Mutex<State>>,
}

impl Kv {
    pub(crate) async fn start() -> Self {
        let state = State { tokens: vec!["root".to_owned()], ..State::default() };
        let state = Arc::new(Mutex::new(state));
        let serving = Arc::clone(&state);
        let server = Server::start(move |asked| serving.lock().unwrap().answer(&asked)).await;
        Self { server, state }
    }

    /// Somebody else writes, as `vault kv put` does.
    pub(crate) fn put(&self, path: &str, data: Value) {
        self.state.lock().unwrap().kept.entry(path.to_owned()).or_default().push(data);
    }

    /// Somebody else deletes the last version, whose number stays.
    pub(crate) fn delete(&self, path: &str) {
        self.with(|state| *state.kept.get_mut(path).unwrap().last_mut().unwrap() = Value::Null);
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }
}

fn errors(status: u16, error: &str) -> Said {
    (status, json!({"errors": [error]}))
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Said {
        self.asked.push(format!("{} {}", asked.method, asked.path));
        self.namespace = asked.header("x-vault-namespace").to_owned();
        assert_eq!(asked.header("x-vault-request"), "true");
        let path = asked.path.strip_prefix("/v1/").expect("the API's first version").to_owned();
        if path == "auth/approle/login" {
            return self.login(asked);
        }
        let token = asked.header("x-vault-token").to_owned();
        if !self.tokens.contains(&token) || (self.denies && path.starts_with("kv")) {
            return errors(403, "permission denied");
        }
        match (&*asked.method, &*path) {
            ("GET", "auth/token/lookup-self") => (200, json!({"data": {"ttl": 0, "renewable": false}})),
            ("POST", "auth/token/renew-self") => {
                self.renewals += 1;
                (200, self.auth(&token))
            }
            _ => self.kv(asked, &path),
        }
    }

    fn auth(&self, token: &str) -> Value {
        json!({"auth": {"client_token": token, "lease_duration": self.lease, "renewable": true}})
    }

    fn login(&mut self, asked: &Asked) -> Said {
        if asked.body != json!({"role_id": "role", "secret_id": "proof"}) {
            return errors(400, "invalid role or secret ID");
        }
        self.logins += 1;
        let token = format!("login-{}", self.logins);
        self.tokens.push(token.clone());
        (200, self.auth(&token))
    }

    fn kv(&mut self, asked: &Asked, path: &str) -> Said {
        if let Some(path) = path.strip_prefix("kv1/") {
            return self.one(asked, path);
        }
        match path.strip_prefix("kv2/").and_then(|path| path.split_once('/')) {
            Some(("data", path)) => self.two(asked, path),
            Some(("metadata", path)) if asked.method == "DELETE" => self.remove(path),
            Some(("metadata", path)) if asked.query("list") == "true" => self.list(path),
            _ => errors(404, "no handler for route"),
        }
    }

    fn one(&mut self, asked: &Asked, path: &str) -> Said {
        match &*asked.method {
            "GET" if asked.query("list") == "true" => self.list(path),
            "GET" => match self.kept.get(path).and_then(|versions| versions.last()) {
                Some(data) => (200, json!({"data": data})),
                None => (404, json!({"errors": []})),
            },
            "POST" => {
                self.kept.insert(path.to_owned(), vec![asked.body.clone()]);
                (204, Value::Null)
            }
            "DELETE" => self.remove(path),
            other => panic!("{other}"),
        }
    }

    fn two(&mut self, asked: &Asked, path: &str) -> Said {
        let versions = self.kept.get(path).cloned().unwrap_or_default();
        let metadata = json!({"version": versions.len(), "destroyed": false});
        match (&*asked.method, versions.last()) {
            ("GET", None) => (404, json!({"errors": []})),
            ("GET", Some(data)) => {
                let status = if data.is_null() { 404 } else { 200 };
                (status, json!({"data": {"data": data, "metadata": metadata}}))
            }
            ("POST", _) if asked.body["options"]["cas"] != json!(versions.len()) => {
                errors(400, "check-and-set parameter did not match the current version")
            }
            ("POST", _) => {
                self.kept.entry(path.to_owned()).or_default().push(asked.body["data"].clone());
                (200, json!({"data": {"version": versions.len() + 1}}))
            }
            (other, _) => panic!("{other}"),
        }
    }

    fn remove(&mut self, path: &str) -> Said {
        self.kept.remove(path);
        (204, Value::Null)
    }

    fn list(&self, directory: &str) -> Said {
        let below = self.kept.keys().filter_map(|path| path.strip_prefix(directory));
        let first = |path: &str| path.split_inclusive('/').next().unwrap().to_owned();
        let mut keys: Vec<_> = below.map(first).collect();
        keys.dedup();
        match keys.is_empty() {
            true => (404, json!({"errors": []})),
            false => (200, json!({"data": {"keys": keys}})),
        }
    }
}
