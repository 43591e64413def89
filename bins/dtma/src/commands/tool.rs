//! `tool`: a tool alone is a group bearing its name.

use super::group;
use crate::app::App;
use crate::cli::{ToolDeployArgs, ToolLsArgs, ToolRmArgs};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::output::server as layout;
use crate::progress::Subject;
use crate::progress::board::Scope;
use dtma_client::RemoveOptions;
use dtma_client::types::{ByteSize, GroupRequest, GroupView, Kind, Resources, ServerRequest, ServerView};

/// `dtma tool deploy`.
pub(super) async fn deploy(app: &App, args: ToolDeployArgs) -> Result<(), Failure> {
    let subject = Subject {
        scope: Scope::Group(args.name.clone()),
        servers: vec![args.name.clone()],
        waits: !args.wait.no_wait,
    };
    let wait = args.wait;
    group::deploy(app, subject, &request(args), wait).await
}

fn request(args: ToolDeployArgs) -> GroupRequest {
    let memory = args.memory.map(ByteSize::Text);
    let server = ServerRequest {
        instance_name: args.name.clone(),
        kind: Some(Kind::Tool),
        image: args.image,
        command: (!args.command.is_empty()).then_some(args.command),
        args: (!args.args.is_empty()).then_some(args.args),
        environment: args.env.into_iter().collect(),
        port: args.port.or_else(|| args.publish.first().map(|publish| publish.container_port)),
        publish: args.publish,
        mounts: args.volume,
        resources: memory.map(|memory| Resources { memory: Some(memory), ..Resources::default() }),
        ..ServerRequest::default()
    };
    GroupRequest { group_id: args.name, servers: vec![server], ..GroupRequest::default() }
}

/// `dtma tool rm`.
pub(super) async fn rm(app: &App, args: &ToolRmArgs) -> Result<(), Failure> {
    let group = app.client.get_group(&args.name).await.map_err(|error| match exit::of(&error) {
        Exit::NotFound => Failure::new(Exit::NotFound, format!("there is no tool {}", args.name))
            .hint("dtma tool ls lists what there is"),
        _ => error.into(),
    })?;
    if alone(&group).is_none() {
        let message = format!("{} is a group, not a tool alone", args.name);
        return Err(Failure::new(Exit::Conflict, message).hint("dtma down removes groups"));
    }
    let options = RemoveOptions {
        wait: args.wait.wait(),
        force: args.force,
        grace: None,
        volumes: args.volumes,
        key: None,
    };
    group::remove(app, &args.name, &options).await
}

/// `dtma tool ls`.
pub(super) async fn ls(app: &App, _: &ToolLsArgs) -> Result<(), Failure> {
    let groups = app.client.list_groups().await?.groups;
    let tools: Vec<&ServerView> = groups.iter().filter_map(alone).collect();
    app.output.list(&tools, |shape| layout::list(&tools, shape, app.clock.now(), app.output.ink))?;
    if tools.is_empty() && app.output.is_human() {
        app.output.remark("no tool stands alone; dtma ps lists those of groups too");
    }
    Ok(())
}

/// The tool, if the group is one tool bearing its name.
fn alone(group: &GroupView) -> Option<&ServerView> {
    match group.servers.as_slice() {
        [server] if server.kind == Kind::Tool && server.instance_name == group.group_id => Some(server),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command, ToolCommand};
    use clap::Parser;
    use serde_json::json;

    #[test]
    fn a_line_becomes_a_group_of_one() {
        let line = "dtma tool deploy web busybox --publish 8080:80 --env A=b=c --volume data:/data \
                    --memory 64MiB --command httpd -- -f -p 80";
        let Command::Tool(ToolCommand::Deploy(args)) = Cli::parse_from(line.split_whitespace()).command
        else {
            panic!("another command")
        };
        assert_eq!(
            serde_json::to_value(request(args)).unwrap(),
            json!({"groupId": "web", "servers": [{
                "instanceName": "web", "kind": "tool", "image": "busybox", "command": ["httpd"],
                "args": ["-f", "-p", "80"], "environment": {"A": "b=c"}, "port": 80,
                "publish": [{"hostPort": 8080, "containerPort": 80}],
                "mounts": [{"type": "volume", "name": "data", "target": "/data"}],
                "resources": {"memory": "64MiB"}
            }]})
        );
    }
}
