//! Words that mean "not done": nothing unfinished is kept under a real name, no test is skipped.

use super::{Complaint, Source};

/// Each in two halves, so that this file passes its own rule; and what to do instead.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("to", "do!(", "build it, or leave it out until it is built"),
    ("unimple", "mented!(", "build it, or make the case impossible to write"),
    ("#[ig", "nore", "mend the test or remove it: tests against the real engine run, never skipped"),
];

pub(crate) fn check(source: &Source) -> Vec<Complaint> {
    let lines = source.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| {
            in_line(line).map(move |text| Complaint::new(&source.path, index + 1, text))
        })
        .collect()
}

fn in_line(line: &str) -> impl Iterator<Item = String> {
    let found = FORBIDDEN.iter().filter(|(head, tail, _)| line.contains(&format!("{head}{tail}")));
    found.map(|(head, tail, remedy)| format!("`{head}{tail}` has no place here: {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_an_unfinished_word_is_named() {
        let text = format!("fn a() {{\n    {}{})\n}}\n", FORBIDDEN[0].0, FORBIDDEN[0].1);
        let complaints = check(&Source { path: "a.rs".into(), text });
        assert_eq!(complaints.len(), 1);
        assert_eq!(complaints[0].line, 2);
    }

    #[test]
    fn the_plain_word_is_free() {
        assert!(check(&Source { path: "a.rs".into(), text: "// what is left to do\n".into() }).is_empty());
    }
}
