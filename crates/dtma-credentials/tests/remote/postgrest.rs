//! PostgREST over the schema `vault` as Supabase documents both.

use super::server::{Asked, Said, Server};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A project whose service key is `service`, empty at first.
pub(crate) async fn start() -> Server {
    let mut project = Project::default();
    Server::start(move |asked| project.answer(&asked)).await
}

#[derive(Default)]
struct Project {
    /// Id and text by name.
    secrets: BTreeMap<String, (String, String)>,
    made: usize,
}

impl Project {
    fn answer(&mut self, asked: &Asked) -> Said {
        let proved = asked.header("apikey") == "service" && asked.header("authorization") == "Bearer service";
        if !proved {
            return (401, json!({"message": "Invalid API key"}));
        }
        let profile = if asked.method == "GET" { "accept-profile" } else { "content-profile" };
        assert_eq!(asked.header(profile), "vault");
        match (&*asked.method, &*asked.path) {
            ("GET", "/rest/v1/decrypted_secrets") => self.read(asked),
            ("GET", "/rest/v1/secrets") => self.names(asked),
            ("POST", "/rest/v1/rpc/create_secret") => self.create(&asked.body),
            ("POST", "/rest/v1/rpc/update_secret") => self.update(&asked.body),
            ("DELETE", "/rest/v1/secrets") => {
                self.secrets.remove(asked.query("name").strip_prefix("eq.").unwrap());
                (204, Value::Null)
            }
            (method, path) => panic!("{method} {path}"),
        }
    }

    fn read(&self, asked: &Asked) -> Said {
        let found = self.secrets.get(asked.query("name").strip_prefix("eq.").unwrap());
        let row = |(id, text): &(String, String)| match asked.query("select") {
            "id" => json!({"id": id}),
            "id,decrypted_secret" => json!({"id": id, "decrypted_secret": text}),
            other => panic!("{other}"),
        };
        (200, found.map(row).into_iter().collect())
    }

    fn names(&self, asked: &Asked) -> Said {
        assert_eq!(asked.query("name"), "like.dtma/*");
        let (offset, limit) = (asked.query("offset").parse().unwrap(), asked.query("limit").parse().unwrap());
        // A project may allow fewer rows than are asked for.
        let names = self.secrets.keys().skip(offset).take(3.min(limit));
        (200, names.map(|name| json!({"name": name})).collect())
    }

    fn create(&mut self, body: &Value) -> Said {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        if self.secrets.contains_key(&text("new_name")) {
            return (409, json!({"code": "23505"}));
        }
        self.made += 1;
        let id = format!("0f8fad5b-d9cb-469f-a165-{:012}", self.made);
        self.secrets.insert(text("new_name"), (id.clone(), text("new_secret")));
        (200, json!(id))
    }

    fn update(&mut self, body: &Value) -> Said {
        let (_, text) = self.secrets.values_mut().find(|(id, _)| body["secret_id"] == json!(id)).unwrap();
        *text = body["new_secret"].as_str().unwrap().to_owned();
        (204, Value::Null)
    }
}
