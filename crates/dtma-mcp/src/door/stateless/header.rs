//! What headers say that repeat something of the body: as it is where it can stand in a header, else as
//! `=?base64?…?=`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;

/// What a header says. `None`: it begins and ends as base64 and is none, or none of UTF-8, so that it says nothing that a
/// body could say, too.
pub(crate) fn decoded(text: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = text.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(Cow::Borrowed(text));
    };
    let bytes = STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_base64_says_nothing() {
        for text in [
            "=?base64?w7w?=",
            "=?base64?w7x=?=",
            "=?base64?w7w= ?=",
            "=?base64?w7w=w7w=?=",
            "=?base64?/w==?=",
        ] {
            assert_eq!(decoded(text), None, "{text}");
        }
        for text in ["", "größe", "=?base64?=", "=?base64?w7w=", "w7w=?=", "=?BASE64?w7w=?="] {
            assert_eq!(decoded(text).as_deref(), Some(text));
        }
        assert_eq!(decoded("=?base64??=").as_deref(), Some(""));
    }

    proptest! {
        #[test]
        fn whatever_was_encoded_is_decoded(text in "\\PC{0,40}") {
            let encoded = format!("=?base64?{}?=", STANDARD.encode(&text));
            let said = decoded(&encoded);
            prop_assert_eq!(said.as_deref(), Some(text.as_str()));
        }
    }
}
