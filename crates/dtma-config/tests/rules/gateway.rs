//! Cases of a group as one MCP server.

use crate::case::{Case, case};
use crate::support::{configurator, pair, places, stdio};
use dtma_config::rule;
use dtma_core::connection::Pattern;
use dtma_core::spec::{GatewaySpec, GroupSpec};

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn renames(renames: &'static [(&str, &str)]) -> impl Fn(&mut GroupSpec) + 'static {
    move |group| {
        let owned = |(old, new): &(&str, &str)| ((*old).to_owned(), (*new).to_owned());
        group.gateway = GatewaySpec { rename: renames.iter().map(owned).collect(), ..GatewaySpec::default() };
    }
}

fn servers(names: &'static [&str]) -> impl Fn(&mut GroupSpec) + 'static {
    move |group| group.gateway.servers = Some(patterns(names))
}

fn allow(tools: &'static [&str]) -> impl Fn(&mut GroupSpec) + 'static {
    move |group| group.gateway.allow = Some(patterns(tools))
}

fn deny(tools: &'static [&str]) -> impl Fn(&mut GroupSpec) + 'static {
    move |group| group.gateway.deny = patterns(tools)
}

pub(crate) fn gateway_cases() -> Vec<Case> {
    let at = "/gateway/tools/rename/time__now";
    vec![
        case(rule::GATEWAY_SERVER, "/gateway/servers/1", servers(&["time", "web"]), servers(&["time", "t*"])),
        case(rule::GATEWAY_SERVER, "/gateway/tools/allow/0", allow(&["tme__now"]), allow(&["time__now"])),
        case(rule::GATEWAY_SERVER, "/gateway/tools/allow/0", allow(&["x*"]), allow(&["t*"])),
        case(
            rule::GATEWAY_SERVER,
            "/gateway/tools/deny/1",
            deny(&["*", "now"]),
            deny(&["*_now", "time__n*"]),
        ),
        case(
            rule::GATEWAY_SERVER,
            "/gateway/tools/rename/web__a~1b",
            renames(&[("web__a/b", "c")]),
            renames(&[("time__a/b", "c")]),
        ),
        case(rule::GATEWAY_EMPTY, "/gateway/servers", servers(&[]), servers(&["*"])),
        case(rule::GATEWAY_EMPTY, "/gateway/tools/allow", allow(&[]), allow(&["*"])),
        case(rule::GATEWAY_NAME, at, renames(&[("time__now", "a b")]), renames(&[("time__now", "a_b")])),
        case(rule::GATEWAY_NAME, at, renames(&[("time__now", "x__y")]), renames(&[("time__now", "x_y")])),
        case(
            rule::GATEWAY_NAME,
            at,
            renames(&[("time__now", "find_tools")]),
            renames(&[("time__now", "find")]),
        ),
        case(rule::GATEWAY_NAME, at, renames(&[("time__now", "")]), renames(&[("time__now", "n")])),
        case(
            rule::GATEWAY_CONFLICT,
            "/gateway/tools/rename/time__then",
            renames(&[("time__now", "x"), ("time__then", "x")]),
            renames(&[("time__now", "x"), ("time__then", "y")]),
        ),
    ]
}

#[test]
fn a_conflict_names_both() {
    let mut group = pair();
    renames(&[("time__now", "x"), ("time__then", "x")])(&mut group);
    let message = configurator().validate(&group).remove(0).message;
    assert!(["time__now", "time__then", "\"x\""].iter().all(|name| message.contains(name)), "{message}");
    let mut group = pair();
    group.servers.push(stdio("time_"));
    renames(&[("time___now", "x")])(&mut group);
    let found = configurator().validate(&group);
    assert_eq!(places(&found), [("/gateway/tools/rename/time___now", rule::GATEWAY_CONFLICT)], "{found:#?}");
}
