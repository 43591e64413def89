//! The client knows every operation of the contract.

use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");
/// `deployGroup` as Rust writes it.
fn snake(operation: &str) -> String {
    let mut name = String::new();
    for letter in operation.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[test]
fn every_operation_has_a_method() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let operations =
        document["paths"].as_object().unwrap().values().flat_map(|item| item.as_object().unwrap());
    let names: Vec<String> =
        operations.map(|(_, operation)| snake(operation["operationId"].as_str().unwrap())).collect();
    // Every file of the client.
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap();
    let methods: String =
        sources.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let missing: Vec<&String> =
        names.iter().filter(|name| !methods.contains(&format!("pub async fn {name}("))).collect();
    assert!(names.len() > 20, "the document lists {} operations", names.len());
    assert!(missing.is_empty(), "without a method in dtma-client: {missing:?}");
}
