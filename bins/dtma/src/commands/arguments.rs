//! Arguments of a tool as they are typed, and the types its schema wants. Where the schema does not say, what looks
//! like JSON is JSON and anything else is text.

use crate::exit::Exit;
use crate::failure::Failure;
use serde_json::{Map, Number, Value};

/// How deep `$ref` and `anyOf` are followed.
const DEEPEST: usize = 8;

/// A JSON object as it was typed, `-` for standard input.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    let wrong = |problem: String| Failure::new(Exit::Usage, "--json takes a JSON object").cause(problem);
    let read = if text == "-" {
        std::io::read_to_string(std::io::stdin().lock()).map_err(|error| wrong(error.to_string()))?
    } else {
        text.to_owned()
    };
    serde_json::from_str(&read).map_err(|error| wrong(error.to_string()))
}

/// Each argument in the type the schema wants. One that is repeated becomes a list.
pub(super) fn typed(args: &[(String, String)], schema: &Value) -> Result<Map<String, Value>, Failure> {
    let mut typed = Map::new();
    for (key, text) in args {
        let wanted = Wanted { root: schema, schema: &schema["properties"][key.as_str()], depth: 0 };
        let value = wanted.read(text).map_err(|problem| {
            Failure::new(Exit::Usage, format!("--arg {key}: {problem}"))
                .hint("dtma mcp ls INSTANCE shows what each tool takes")
        })?;
        match (typed.get_mut(key), value) {
            (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
            (Some(_), _) => {
                return Err(Failure::new(Exit::Usage, format!("--arg {key} is given twice and is no list")));
            }
            (None, value) => {
                typed.insert(key.clone(), value);
            }
        }
    }
    Ok(typed)
}

/// A part of a schema, and the whole for its references.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    root: &'a Value,
    schema: &'a Value,
    depth: usize,
}

impl<'a> Wanted<'a> {
    fn read(self, text: &str) -> Result<Value, String> {
        let types = self.types();
        if types.is_empty() {
            return Ok(guess(text));
        }
        // Text fits everything, so it is the last that is tried.
        let others = types.iter().filter(|(name, _)| *name != "string");
        for (name, wanted) in others {
            if let Some(value) = wanted.as_type(name, text) {
                return Ok(value);
            }
        }
        if types.iter().any(|(name, _)| *name == "string") {
            return Ok(Value::String(text.to_owned()));
        }
        let names: Vec<&str> = types.iter().map(|(name, _)| *name).collect();
        Err(format!("{text:?} is not of type {}", names.join(" or ")))
    }

    /// Every type that is allowed, with the schema that allows it.
    fn types(self) -> Vec<(&'a str, Self)> {
        if self.depth > DEEPEST {
            return Vec::new();
        }
        if let Some(pointer) = self.schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
            return self.root.pointer(pointer).map(|schema| self.inside(schema).types()).unwrap_or_default();
        }
        for word in ["anyOf", "oneOf"] {
            if let Some(choices) = self.schema[word].as_array() {
                return choices.iter().flat_map(|choice| self.inside(choice).types()).collect();
            }
        }
        match &self.schema["type"] {
            Value::String(name) => vec![(name.as_str(), self)],
            Value::Array(names) => names.iter().filter_map(|name| Some((name.as_str()?, self))).collect(),
            _ if self.schema["enum"].is_array() => self.types_of_words(),
            _ => Vec::new(),
        }
    }

    fn types_of_words(self) -> Vec<(&'a str, Self)> {
        let words = self.schema["enum"].as_array();
        let textual = words.is_some_and(|words| words.iter().all(Value::is_string));
        if textual { vec![("string", self)] } else { Vec::new() }
    }

    fn inside(self, schema: &'a Value) -> Self {
        Self { schema, depth: self.depth + 1, ..self }
    }

    fn as_type(self, name: &str, text: &str) -> Option<Value> {
        match name {
            "integer" => integer(text),
            "number" => integer(text).or_else(|| number(text)),
            "boolean" => text.parse().ok().map(Value::Bool),
            "null" => (text == "null").then_some(Value::Null),
            "object" => serde_json::from_str(text).ok().filter(Value::is_object),
            "array" => self.list(text),
            _ => None,
        }
    }

    /// A JSON list, or one item of it.
    fn list(self, text: &str) -> Option<Value> {
        if let Some(list) = serde_json::from_str(text).ok().filter(Value::is_array) {
            return Some(list);
        }
        let item = self.inside(&self.schema["items"]).read(text).ok()?;
        Some(Value::Array(vec![item]))
    }
}

fn integer(text: &str) -> Option<Value> {
    text.parse::<i64>().map(Value::from).or_else(|_| text.parse::<u64>().map(Value::from)).ok()
}

fn number(text: &str) -> Option<Value> {
    text.parse::<f64>().ok().and_then(Number::from_f64).map(Value::Number)
}

fn guess(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(schema: &Value, text: &str) -> Result<Value, String> {
        Wanted { root: &Value::Null, schema, depth: 0 }.read(text)
    }

    #[test]
    fn the_schema_decides_the_type() {
        for (schema, text, value) in [
            (json!({"type": "string"}), "5", json!("5")),
            (json!({"type": "string"}), "", json!("")),
            (json!({"type": "integer"}), "5", json!(5)),
            (json!({"type": "number"}), "5", json!(5)),
            (json!({"type": "number"}), "-0.5e1", json!(-5.0)),
            (json!({"type": "boolean"}), "true", json!(true)),
            (json!({"type": ["string", "null"]}), "null", Value::Null),
            (json!({"type": ["integer", "string"]}), "5a", json!("5a")),
            (json!({"type": "object"}), "{\"a\": 1}", json!({"a": 1})),
            (json!({"type": "array"}), "[1, 2]", json!([1, 2])),
            (json!({"type": "array", "items": {"type": "string"}}), "1", json!(["1"])),
            (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), "7", json!(7)),
            (json!({"enum": ["1", "2"]}), "1", json!("1")),
        ] {
            assert_eq!(read(&schema, text), Ok(value), "{schema} {text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (schema, text) in [
            (json!({"type": "integer"}), "5.5"),
            (json!({"type": "integer"}), ""),
            (json!({"type": "number"}), "NaN"),
            (json!({"type": "boolean"}), "yes"),
            (json!({"type": "object"}), "[1]"),
        ] {
            assert!(read(&schema, text).is_err(), "{schema} {text}");
        }
        assert_eq!(read(&json!({"type": "integer"}), "x"), Err("\"x\" is not of type integer".into()));
    }

    #[test]
    fn without_a_schema_json_is_json_and_the_rest_is_text() {
        for (text, value) in [
            ("5", json!(5)),
            ("true", json!(true)),
            ("[1]", json!([1])),
            ("a b", json!("a b")),
            ("\"5\"", json!("5")),
        ] {
            assert_eq!(read(&Value::Null, text), Ok(value));
        }
    }

    #[test]
    fn a_repeated_argument_is_a_list_or_a_mistake() {
        let schema = json!({"properties": {"x": {"$ref": "#/$defs/names"}, "y": {"type": "string"}},
                            "$defs": {"names": {"type": "array", "items": {"type": "string"}}}});
        let twice = |key: &str| [(key.to_owned(), "a".to_owned()), (key.to_owned(), "b".to_owned())];
        assert_eq!(Value::Object(typed(&twice("x"), &schema).unwrap()), json!({"x": ["a", "b"]}));
        assert_eq!(typed(&twice("y"), &schema).unwrap_err().exit(), Some(Exit::Usage));
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = json!({"properties": {"x": {"$ref": "#/properties/x"}}});
        assert!(typed(&[("x".into(), "1".into())], &schema).is_ok());
    }
}
