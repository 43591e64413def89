//! The canonical form, the hash and the difference.

use super::*;
use crate::catalogue::{Items, Offers};
use crate::id::Generation;
use proptest::prelude::*;
use serde_json::json;

fn catalogue(tools: &[Value]) -> Catalogue {
    let raw = tools.iter().map(Value::to_string).collect();
    Catalogue {
        instance: "a".parse().unwrap(),
        config: ConfigHash("c".into()),
        image: None,
        generation: Generation(1),
        at: Timestamp::UNIX_EPOCH,
        offers: Offers { tools: Items { raw, ..Items::default() }, ..Offers::default() },
    }
}

fn contract(tools: &[Value]) -> Contract {
    Contract::of(&catalogue(tools), FIRST, Timestamp::UNIX_EPOCH)
}

fn echo() -> Value {
    json!({
        "name": "echo", "title": "Echo", "description": "Says it again.",
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        "outputSchema": {"type": "object"}, "annotations": {"readOnlyHint": true}, "_meta": {"x": 1}
    })
}

#[test]
fn the_order_of_keys_and_the_spelling_of_numbers_do_not_matter() {
    let one = r#"{"name":"a","inputSchema":{"b":1,"a":[1.0,1e2,"\u00e9"]},"_meta":{"v":1}}"#;
    let other = r#" {"inputSchema": {"a": [1, 100, "é"], "b": 1.0}, "name": "a", "icons": []}"#;
    assert_eq!(pinned(one), pinned(other));
    assert_eq!(pinned(one).unwrap().1, r#"{"inputSchema":{"a":[1,100,"é"],"b":1},"name":"a"}"#);
    assert_eq!(canonical(&json!({"\u{1f600}": 1, "\u{fb33}": 2})), "{\"\u{1f600}\":1,\"\u{fb33}\":2}");
}

#[test]
fn each_pinned_field_counts_and_no_other_does() {
    let hash = |tool: Value| contract(&[tool]).hash();
    let before = hash(echo());
    for field in PINNED {
        let mut changed = echo();
        changed[field] = match field {
            "name" | "title" | "description" => json!("another"),
            _ => json!({"type": "string"}),
        };
        assert_ne!(hash(changed), before, "{field}");
        let mut without = echo();
        without.as_object_mut().unwrap().remove(field);
        assert_ne!(hash(without), before, "without {field}");
    }
    let mut other = echo();
    other["_meta"] = json!({"x": 2});
    assert_eq!(hash(other), before);
}

#[test]
fn what_differs_is_told_field_by_field() {
    let approved = contract(&[echo(), json!({"name": "old"}), json!({"name": "same"})]);
    let mut changed = echo();
    changed["description"] = json!("Sends it to \u{1b}[31mme.");
    changed["inputSchema"]["properties"]["to"] = json!({"type": "string"});
    changed["annotations"].as_object_mut().unwrap().clear();
    let now = catalogue(&[json!({"name": "same"}), changed, json!({"name": "new"})]);
    let told: Vec<_> = drift(&approved, &now.offers.tools.raw).iter().flat_map(Drift::lines).collect();
    let wanted = [
        r#"~ tool "echo" is another"#,
        "    /annotations/readOnlyHint: gone, was true",
        r#"    /description: "Says it again." -> "Sends it to \u001b[31mme.""#,
        r#"    /inputSchema/properties/to: new, {"type":"string"}"#,
        r#"+ tool "new" is new"#,
        r#"- tool "old" is gone"#,
    ];
    assert_eq!(told, wanted);
    assert_eq!(drift(&contract(&[echo()]), &[echo().to_string()]), vec![]);
}

#[test]
fn a_tool_can_be_approved_alone() {
    let approved = contract(&[echo(), json!({"name": "old"})]);
    let now = catalogue(&[json!({"name": "echo"}), json!({"name": "new"})]);
    let names = |contract: &Contract| {
        drift(contract, &now.offers.tools.raw).into_iter().map(|d| d.tool).collect::<Vec<_>>()
    };
    assert_eq!(names(&approved), ["echo", "new", "old"]);
    let approved = approved.with("new", &now, "ann", Timestamp::UNIX_EPOCH);
    assert_eq!(
        (names(&approved), approved.author.as_str()),
        (vec!["echo".to_owned(), "old".to_owned()], "ann")
    );
    let approved = approved.with("old", &now, "ann", Timestamp::UNIX_EPOCH);
    assert_eq!(names(&approved), ["echo"]);
    assert!(approved.objection("echo", Some(r#"{"name":"echo"}"#)).is_some());
    assert!(approved.objection("echo", None).is_none() && approved.objection("x", None).is_some());
    assert!(names(&Contract::of(&now, "ann", Timestamp::UNIX_EPOCH)).is_empty());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // Those that every reader of JSON reads exactly.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(".{0,5}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// The same value with the keys of all objects the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut fields: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{} : {}", Value::from(key.as_str()), reversed(value)))
                .collect();
            fields.reverse();
            format!("{{ {} }}", fields.join(" ,\n"))
        }
        Value::Array(items) => format!("[ {} ]", items.iter().map(reversed).collect::<Vec<_>>().join(" , ")),
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn the_canonical_form_is_the_same_for_every_order_and_says_the_same(value in any_json()) {
        let other: Value = serde_json::from_str(&reversed(&value)).unwrap();
        prop_assert_eq!(canonical(&value), canonical(&other));
        let again: Value = serde_json::from_str(&canonical(&value)).unwrap();
        prop_assert_eq!(canonical(&again), canonical(&value), "writing it twice changes nothing");
    }

    #[test]
    fn two_values_of_one_form_are_one(a in any_json(), b in any_json()) {
        let same = |a: &Value, b: &Value| canonical(a) == canonical(b);
        prop_assert!(same(&a, &a));
        if same(&a, &b) {
            let (a, b): (Value, Value) = (serde_json::from_str(&canonical(&a)).unwrap(), serde_json::from_str(&canonical(&b)).unwrap());
            prop_assert_eq!(a, b);
        }
    }
}
