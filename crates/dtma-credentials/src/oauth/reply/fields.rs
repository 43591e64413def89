//! The fields of an answer: a JSON object or a form.

use crate::refresh::Tokens;
use serde_json::{Map, Value};

/// More fields than any provider sends.
const MOST: usize = 200;

pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn read(body: &[u8]) -> Result<Self, &'static str> {
        let body = body.trim_ascii();
        match body.first() {
            None => Err("without a word"),
            Some(b'{') => serde_json::from_slice(body).map(Self).map_err(|_| "its JSON is broken"),
            Some(b'<') => Err("with a page for people; is the address right?"),
            Some(_) => Self::form(body).ok_or("neither with JSON nor with a form"),
        }
    }

    fn form(body: &[u8]) -> Option<Self> {
        let pairs = form_urlencoded::parse(body).take(MOST);
        let fields: Map<String, Value> = pairs.map(|(name, value)| (name.into(), value.into())).collect();
        let known = ["access_token", "error", "device_code", "ok"];
        known.iter().any(|name| fields.contains_key(*name)).then_some(Self(fields))
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        text(&self.0, name)
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        number(&self.0, name)
    }

    /// The code of an error; Slack's `ok: false` is one whatever else is said.
    pub(super) fn error(&self) -> Option<String> {
        let refused = self.0.get("ok") == Some(&Value::Bool(false));
        self.text("error").or_else(|| refused.then(|| "unknown_error".to_owned()))
    }

    /// The bot's or application's token; Slack's user's token where there is no other.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        let user = self.0.get("authed_user").and_then(Value::as_object);
        tokens(&self.0).or_else(|| tokens(user?))
    }
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<f64> {
    match fields.get(name)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A token with characters that no header can hold is none.
fn token(fields: &Map<String, Value>, name: &str) -> Option<secrecy::SecretString> {
    let token = text(fields, name)?;
    token.bytes().all(|byte| (0x20..0x7f).contains(&byte)).then(|| token.into())
}

fn tokens(fields: &Map<String, Value>) -> Option<Tokens> {
    Some(Tokens {
        access: token(fields, "access_token")?,
        refresh: token(fields, "refresh_token"),
        expires_in: number(fields, "expires_in"),
    })
}
