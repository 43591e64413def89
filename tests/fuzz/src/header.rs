//! Headers that repeat something of a body: what was encoded is decoded, what stands as it is stays.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dtma_mcp::fuzzing::header as decoded;

pub(crate) fn header(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match decoded(&text) {
        Some(said) if said == text => {}
        Some(said) => assert_eq!(format!("=?base64?{}?=", STANDARD.encode(said.as_bytes())), text),
        None => assert!(text.starts_with("=?base64?") && text.ends_with("?=")),
    }
    let encoded = format!("=?base64?{}?=", STANDARD.encode(text.as_bytes()));
    assert_eq!(decoded(&encoded).as_deref(), Some(&*text));
}
