//! `run`: a server in one command, from an image or from a package that becomes one.

use super::group;
use crate::app::App;
use crate::bake::{self, Engine, Package};
use crate::cli::{ProgressMode, RunArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::progress::Subject;
use crate::progress::board::Scope;
use dtma_client::types::{ByteSize, GroupRequest, Kind, PullPolicy, Resources, ServerRequest, Transport};

/// What an interpreter with a package needs.
const PACKAGE_MEMORY: &str = "512MiB";
/// Where an engine is when neither the daemon nor anybody else says.
const DEFAULT_ENGINE: &str = "unix:///var/run/docker.sock";

/// `dtma run`.
pub(super) async fn run(app: &App, mut args: RunArgs) -> Result<(), Failure> {
    let package = Package::read(&args.what)?;
    let name = match (&args.name, &package) {
        (Some(name), _) => name.clone(),
        (None, Some(package)) => package.server_name(),
        (None, None) => name_of(&args.what),
    };
    if let Some(package) = &package {
        args.what = baked(app, package, args.docker_host.as_deref()).await?;
        args.memory = args.memory.or_else(|| Some(PACKAGE_MEMORY.to_owned()));
    }
    let group = args.group.clone().unwrap_or_else(|| name.clone());
    let subject = Subject {
        scope: Scope::Group(group.clone()),
        servers: vec![name.clone()],
        waits: !args.wait.no_wait,
    };
    let wait = args.wait;
    group::deploy(app, subject, &request(args, name, group, package.is_some()), wait).await
}

/// The package's image, baked by the daemon's engine.
async fn baked(app: &App, package: &Package, said: Option<&str>) -> Result<String, Failure> {
    let status = app.status().await?;
    let host = said.or(status.engine.endpoint.as_deref()).unwrap_or(DEFAULT_ENGINE);
    let engine = Engine::at(host)?;
    let tell = |text: &str| {
        if app.progress != ProgressMode::None && app.progress != ProgressMode::Json {
            app.output.remark(&line(text));
        }
    };
    tokio::select! {
        image = bake::image(&engine, package, &tell) => image,
        // What was begun is in a folder that goes with it.
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Interrupted, "interrupted; nothing was deployed")),
    }
}

fn request(args: RunArgs, name: String, group: String, baked: bool) -> GroupRequest {
    let server = ServerRequest {
        instance_name: name,
        kind: Some(if args.tool { Kind::Tool } else { Kind::Mcp }),
        image: args.what,
        transport: (!args.tool && args.transport != Transport::Stdio).then_some(args.transport),
        endpoint_path: args.path,
        egress: args.egress,
        command: (!args.command.is_empty()).then_some(args.command),
        args: (!args.args.is_empty()).then_some(args.args),
        environment: args.env.into_iter().collect(),
        port: args.port.or_else(|| args.publish.first().map(|publish| publish.container_port)),
        publish: args.publish,
        mounts: args.volume,
        resources: args
            .memory
            .map(|size| Resources { memory: Some(ByteSize::Text(size)), ..Resources::default() }),
        // No registry has it.
        pull_policy: baked.then_some(PullPolicy::Never),
        ..ServerRequest::default()
    };
    GroupRequest { group_id: group, servers: vec![server], ..GroupRequest::default() }
}

/// The last part of an image's name, without tag and digest.
fn name_of(image: &str) -> String {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next().unwrap_or(last).replace("__", "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::json;

    #[test]
    fn a_line_becomes_a_group() {
        let line =
            "dtma run reg:5000/a/thing:1.0@sha256:0 --group g -e A=b -v data:/data --memory 64MiB -- /data";
        let Command::Run(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("another command")
        };
        let name = name_of(&args.what);
        assert_eq!(
            serde_json::to_value(request(*args, name, "g".into(), false)).unwrap(),
            json!({"groupId": "g", "servers": [{
                "instanceName": "thing", "kind": "mcp", "image": "reg:5000/a/thing:1.0@sha256:0",
                "args": ["/data"], "environment": {"A": "b"},
                "mounts": [{"type": "volume", "name": "data", "target": "/data"}],
                "resources": {"memory": "64MiB"}
            }]})
        );
    }

    #[test]
    fn a_server_that_listens_says_where() {
        let line = "dtma run a/thing --transport sse --port 3001 --path /events --egress *.example.org:443";
        let Command::Run(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("another command")
        };
        assert_eq!(
            serde_json::to_value(request(*args, "thing".into(), "g".into(), false)).unwrap(),
            json!({"groupId": "g", "servers": [{"instanceName": "thing", "kind": "mcp", "image": "a/thing",
                "transport": "sse", "port": 3001, "endpointPath": "/events", "egress": ["*.example.org:443"]}]})
        );
        for wrong in
            ["--transport sse", "--transport carrier-pigeon", "--path /x", "--tool --transport sse --port 1"]
        {
            let line = format!("dtma run a/thing {wrong}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{wrong}");
        }
    }
}
