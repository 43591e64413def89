//! How a group looks as one MCP server.

use super::Finder;
use dtma_api_types::{GroupGateway, GroupTools};
use dtma_core::connection::Pattern;
use dtma_core::spec::GatewaySpec;

pub(super) fn convert(wire: GroupGateway, at: &mut Finder<'_>) -> GatewaySpec {
    let GroupGateway { servers, tools } = wire;
    let servers = servers.map(|servers| patterns(&servers, &mut at.at("servers")));
    let GroupTools { allow, deny, rename } = tools.unwrap_or_default();
    let mut at = at.at("tools");
    let allow = allow.map(|allow| patterns(&allow, &mut at.at("allow")));
    let deny = patterns(&deny, &mut at.at("deny"));
    GatewaySpec { servers, allow, deny, rename }
}

/// What stands for one that is none: every name.
fn patterns(texts: &[String], at: &mut Finder<'_>) -> Vec<Pattern> {
    let pattern = |(index, text): (usize, &String)| {
        let read = text.parse::<Pattern>();
        let reported = read.map_err(|problem| at.at(index).report("gateway.pattern", problem.to_string()));
        reported.ok().or_else(|| "*".parse().ok())
    };
    texts.iter().enumerate().filter_map(pattern).collect()
}
