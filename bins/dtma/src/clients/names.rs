//! What servers are called in a client's file. A server's name may have a dot, which no name of a tool may have that a
//! model is told, and clients make those names from a server's.

use super::Client;
use std::collections::{BTreeMap, BTreeSet};

/// What each of these servers is called there: its own name where the client takes that, else the nearest that is
/// free. It does not depend on which of them are wanted.
pub(crate) fn names<'a>(
    client: &Client,
    instances: impl Iterator<Item = &'a str>,
) -> BTreeMap<String, String> {
    let instances: BTreeSet<&str> = instances.collect();
    let (fine, others): (Vec<&str>, Vec<&str>) =
        instances.into_iter().partition(|name| nearest(client, name) == *name);
    let mut taken: BTreeSet<String> = fine.iter().map(|name| (*name).to_owned()).collect();
    let mut named: BTreeMap<String, String> =
        fine.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    for name in others {
        let free = free(&nearest(client, name), &taken);
        taken.insert(free.clone());
        named.insert(name.to_owned(), free);
    }
    named
}

/// What a group as one is called there: its own name, unless one of these servers bears it, as the only one of a group often
/// does. It does not depend on what else is wanted.
pub(crate) fn name_of_group<'a>(
    client: &Client,
    group: &str,
    instances: impl Iterator<Item = &'a str>,
) -> String {
    let taken: BTreeSet<String> = names(client, instances).into_values().collect();
    let own = nearest(client, group);
    if taken.contains(&own) { free(&format!("{own}-group"), &taken) } else { own }
}

fn nearest(client: &Client, name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || (c == '_' && client.underscores);
    name.chars().map(|c| if allowed(c) { c } else { '-' }).collect()
}

fn free(name: &str, taken: &BTreeSet<String>) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::ClientName;
    use super::*;

    #[test]
    fn a_name_that_is_not_taken_becomes_the_nearest_that_is() {
        let (claude, gemini) =
            (Client::of(ClientName::Claude).unwrap(), Client::of(ClientName::Gemini).unwrap());
        let named = |client, instance: &str| {
            names(client, ["a.b", "a-b", "a_b", "time"].into_iter())[instance].clone()
        };
        assert_eq!(named(&claude, "time"), "time");
        assert_eq!(named(&claude, "a-b"), "a-b");
        assert_eq!(named(&claude, "a.b"), "a-b-2");
        assert_eq!(named(&claude, "a_b"), "a_b");
        assert_eq!(named(&gemini, "a.b"), "a-b-2");
        assert_eq!(named(&gemini, "a_b"), "a-b-3");
    }

    #[test]
    fn a_group_that_is_called_as_one_of_the_servers_is_told_apart() {
        let claude = Client::of(ClientName::Claude).unwrap();
        for (group, name) in
            [("lab", "lab"), ("my.lab", "my-lab"), ("time", "time-group"), ("a.b", "a-b-group")]
        {
            assert_eq!(name_of_group(&claude, group, ["time", "a-b"].into_iter()), name);
        }
    }
}
