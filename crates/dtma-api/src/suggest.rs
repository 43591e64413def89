//! "Did you mean …": the known name nearest to one that is not known.

use dtma_core::distance::distance;

/// Names that people bring from elsewhere, and what they are called here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("name", "instanceName"),
    ("id", "groupId"),
    ("dockerImage", "image"),
    ("dockerImageUrl", "image"),
    ("env", "environment"),
    ("environmentVariables", "environment"),
    ("entrypoint", "command"),
    ("cmd", "args"),
    ("volumes", "mounts"),
    ("ports", "publish"),
    ("portBindings", "publish"),
    ("depends_on", "dependsOn"),
    ("dependencies", "dependsOn"),
    ("limits", "resources"),
    ("resourceLimits", "resources"),
    ("networkConfig", "network"),
    ("mcpTransportType", "transport"),
    ("mcpServers", "servers"),
    ("services", "servers"),
    ("cpu", "cpus"),
    ("restartPolicy", "restart"),
];

/// The known name that `unknown` was probably meant to be.
pub(crate) fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let elsewhere = ELSEWHERE.iter().find(|(theirs, _)| *theirs == unknown);
    if let Some(found) = elsewhere.and_then(|(_, ours)| known.clone().find(|name| name == ours)) {
        return Some(found);
    }
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(unknown);
    let near = known.map(|name| (distance(&wanted, &plain(name)), name)).min()?;
    (near.0 <= 1 + unknown.len() / 5).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_and_foreign_words_are_understood() {
        let known = ["instanceName", "image", "environment", "command", "dependsOn", "publish"];
        for (unknown, expected) in [
            ("imgae", Some("image")),
            ("imag", Some("image")),
            ("Image", Some("image")),
            ("instance_name", Some("instanceName")),
            ("enviroment", Some("environment")),
            ("env", Some("environment")),
            ("ports", Some("publish")),
            ("colour", None),
        ] {
            assert_eq!(nearest(unknown, known.into_iter()), expected, "{unknown}");
        }
    }
}
