//! TOML with its lines.

use super::{Lines, Unreadable, step};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

/// Reads one document.
pub(super) fn read(text: &str) -> Result<(Value, Lines), Unreadable> {
    let newlines: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line_at = |offset: usize| newlines.partition_point(|newline| *newline < offset) + 1;
    let table = DeTable::parse(text).map_err(|error| Unreadable {
        line: error.span().map(|span| line_at(span.start)),
        problem: error.message().to_owned(),
    })?;
    let mut reader = Reader { lines: Lines::new(), line_at };
    let value = reader.table(table.get_ref(), "").map_err(|problem| Unreadable { line: None, problem })?;
    Ok((value, reader.lines))
}

struct Reader<F> {
    lines: Lines,
    line_at: F,
}

impl<F: Fn(usize) -> usize> Reader<F> {
    fn table(&mut self, table: &DeTable<'_>, pointer: &str) -> Result<Value, String> {
        let mut fields = Map::new();
        for (key, value) in table {
            let name = key.get_ref().to_string();
            let pointer = step(pointer, &name);
            self.lines.insert(pointer.clone(), (self.line_at)(key.span().start));
            fields.insert(name, self.value(value.get_ref(), &pointer)?);
        }
        Ok(Value::Object(fields))
    }

    fn value(&mut self, value: &DeValue<'_>, pointer: &str) -> Result<Value, String> {
        Ok(match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Datetime(time) => Value::String(time.to_string()),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| format!("{} is too big a number", number.as_str()))?
                .into(),
            DeValue::Float(number) => number
                .as_str()
                .parse::<f64>()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| format!("{} is not a finite number", number.as_str()))?,
            DeValue::Table(table) => self.table(table, pointer)?,
            DeValue::Array(array) => {
                let mut items = Vec::new();
                for (index, item) in array.iter().enumerate() {
                    let pointer = step(pointer, &index.to_string());
                    self.lines.insert(pointer.clone(), (self.line_at)(item.span().start));
                    items.push(self.value(item.get_ref(), &pointer)?);
                }
                Value::Array(items)
            }
        })
    }
}
