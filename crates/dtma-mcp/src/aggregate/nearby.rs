//! Which known names are near to one that nobody bears. Pure.

use dtma_core::distance::distance;

/// Most names that are told.
const MOST: usize = 3;

/// The nearest, the best first; those that begin or go on alike are nearer than others.
pub(super) fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = plain(unknown);
    let mut ranked: Vec<(usize, &str)> =
        known.into_iter().map(|name| (gap(&wanted, &plain(name)), name)).collect();
    ranked.sort_unstable();
    ranked
        .into_iter()
        .filter(|(gap, _)| *gap <= 1 + wanted.len() / 3)
        .take(MOST)
        .map(|(_, name)| name)
        .collect()
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn gap(wanted: &str, known: &str) -> usize {
    let within = !wanted.is_empty() && (known.contains(wanted) || known.len() > 3 && wanted.contains(known));
    if within { 1 } else { distance(wanted, known) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_and_names_without_their_server_are_understood() {
        let known = ["git__git_log", "time__convert_time", "time__get_current_time"];
        for (unknown, expected) in [
            ("time__get_curent_time", &["time__get_current_time"][..]),
            ("get_current_time", &["time__get_current_time"]),
            ("git-git-log", &["git__git_log"]),
            ("weather__forecast", &[]),
            ("", &[]),
        ] {
            assert_eq!(nearest(unknown, known), expected, "{unknown}");
        }
    }
}
