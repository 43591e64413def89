//! Text that comes from outside (servers, engines, daemons) and goes to a terminal: nothing in it may move the
//! cursor, change a colour, or show text in another order than it is written.

use std::fmt::Write;

/// One line: every control character is shown as an escape, newlines too.
pub(crate) fn line(text: &str) -> String {
    escape(text, |_| false)
}

/// Several lines: newlines and tabs stay.
pub(crate) fn block(text: &str) -> String {
    escape(&text.replace("\r\n", "\n"), |c| c == '\n' || c == '\t')
}

/// The first line, shortened to so many characters.
pub(crate) fn headline(text: &str, most: usize) -> String {
    shorten(&line(text.trim().lines().next().unwrap_or("").trim()), most)
}

/// At most so many characters.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// JSON in which characters that a terminal obeys are escaped. They can only stand inside strings.
pub(crate) fn escape_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !obeyed(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// True when a terminal shows it as it is.
pub(crate) fn is_harmless(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || c == '\t' || !obeyed(c))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if keep(c) || !obeyed(c) => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c => escaped.extend(c.escape_unicode()),
        }
    }
    escaped
}

/// Control characters, and the invisible ones that turn, join or hide text.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        for (from_outside, shown) in [
            ("plain é 日本 👍", "plain é 日本 👍"),
            ("\u{1b}[2Jx", "\\u{1b}[2Jx"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"),
            ("a\u{9b}31m", "a\\u{9b}31m"),
            ("a\rb\tc\nd", "a\\rb\\tc\\nd"),
            ("ab\u{8}\u{7f}", "ab\\u{8}\\u{7f}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
            ("\0", "\\u{0}"),
        ] {
            assert_eq!(line(from_outside), shown);
            assert!(is_harmless(&line(from_outside)));
        }
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(block("a\r\nb\tc\rd"), "a\nb\tc\\rd");
    }

    #[test]
    fn a_headline_is_one_short_line() {
        assert_eq!(headline("\n  First.\nSecond.", 80), "First.");
        assert_eq!(headline("abcdef", 4), "abc…");
        assert_eq!(headline("abcd", 4), "abcd");
    }

    #[test]
    fn escaped_json_means_the_same() {
        let value = serde_json::json!(["\u{9b}", "\u{7f}", "\u{e0041}", "\u{202e}"]);
        let text = escape_json(&value.to_string());
        assert!(text.is_ascii(), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
