//! YAML with its lines: every value knows where it stands.

use super::{Lines, Unreadable, step};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// Reads one document.
pub(super) fn read(text: &str) -> Result<(Value, Lines), Unreadable> {
    // As in YAML 1.2: a server may be called `y`, and DEBUG: yes is a text.
    let options = serde_saphyr::options! { strict_booleans: true };
    let node: Spanned<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| unreadable(&error))?;
    let mut lines = Lines::new();
    let line = line_of(&node);
    Ok((settle(node.value, String::new(), line, &mut lines), lines))
}

fn unreadable(error: &serde_saphyr::Error) -> Unreadable {
    let error = error.without_snippet();
    let line = error.location().map(|location| location.line() as usize).filter(|line| *line > 0);
    Unreadable { line, problem: error.to_string() }
}

fn line_of<T>(node: &Spanned<T>) -> usize {
    node.referenced.line() as usize
}

/// A value whose parts know where they stand.
enum Node {
    Leaf(Value),
    List(Vec<Spanned<Node>>),
    Fields(Vec<(Spanned<String>, Spanned<Node>)>),
}

/// Takes the lines out. A field stands where its key stands.
fn settle(node: Node, pointer: String, line: usize, lines: &mut Lines) -> Value {
    let value = match node {
        Node::Leaf(value) => value,
        Node::List(items) => {
            let items = items.into_iter().enumerate().map(|(index, item)| {
                let line = line_of(&item);
                settle(item.value, step(&pointer, &index.to_string()), line, lines)
            });
            Value::Array(items.collect())
        }
        Node::Fields(fields) => {
            let fields = fields.into_iter().map(|(key, item)| {
                let line = line_of(&key);
                let value = settle(item.value, step(&pointer, &key.value), line, lines);
                (key.value, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
    };
    lines.insert(pointer, line);
    value
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value that JSON knows too")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number must be finite"))?;
        Ok(Node::Leaf(Value::Number(number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Leaf(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = access.next_entry()? {
            fields.push(field);
        }
        Ok(Node::Fields(fields))
    }
}
