//! Command lines, as people type them.

use super::*;
use clap::{CommandFactory, error::ErrorKind};

fn parse(line: &str) -> Result<Cli, ErrorKind> {
    Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
}

#[test]
fn the_definition_has_no_contradictions() {
    Cli::command().debug_assert();
}

#[test]
fn lines_that_are_understood() {
    for line in [
        "dtma up",
        "dtma up -f group.yaml --no-wait",
        "dtma up -f - --timeout 30s --progress plain -o json -q",
        "dtma apply -f group.yaml --if-match 3 --timeout 30s",
        "dtma apply --dry-run",
        "dtma plan -f - -v",
        "dtma diff demo 1 2",
        "dtma history demo --generation 2 -o yaml",
        "dtma rollback demo --to 1 --no-wait",
        "dtma scale web --replicas 3",
        "dtma scale web=3 other=2",
        "dtma exec web -i --timeout 5s -- sh -c x",
        "dtma operations ls --kind apply --state failed -n 3",
        "dtma ops wait x --timeout 3s",
        "dtma audit --group demo --outcome denied --since 1d -n 5",
        "dtma exit-codes",
        "dtma down demo --volumes --grace 2",
        "dtma down -f group.toml --force",
        "dtma ps -a -o wide",
        "dtma --url http://127.0.0.1:1 ps demo",
        "dtma status",
        "dtma status time",
        "dtma logs -f --tail 3 --since 10m time",
        "dtma restart a b",
        "dtma restart --group demo",
        "dtma start a",
        "dtma stop a b --no-wait",
        "dtma mcp ls",
        "dtma mcp call time now --arg a=1 --arg b= --json {}",
        "dtma mcp call time now --json -",
        "dtma mcp connect time --patience 5s",
        "dtma agent config --client claude",
        "dtma agent config --client codex --server a --server b --file x.toml --force",
        "dtma agent config --client vscode --group g --project --write --remove",
        "dtma tool deploy web busybox --port 80 --publish 8080:80 --env A=b --command httpd -- -f -p 80",
        "dtma tool rm web",
        "dtma tool ls",
        "dtma events --group demo",
        "dtma events -w",
        "dtma logs a b -f --prefix",
        "dtma logs demo --previous --grep a|b",
        "dtma logs demo --grep [x] -F --no-prefix",
        "dtma wait demo --for phase=backoff --timeout 3s",
        "dtma top demo --once --sort cpu",
        "dtma template render -",
        "dtma template show standard",
        "dtma init - --template full",
        "dtma context add home --url http://127.0.0.1:1 --token-file t --use",
        "dtma --context home ps",
        "dtma run npx:@org/server@1 --name x -e A=b -- --verbose",
        "dtma run dtma/busybox:dev --tool -p 1:2 --command httpd",
        "dtma support-bundle --to x.tar.gz -n 5",
        "dtma explain --list",
        "dtma man --dir x",
        "dtma validate -f group.json",
        "dtma doctor --no-color",
        "dtma completion fish",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn lines_that_are_refused() {
    for line in [
        "dtma frobnicate",
        "dtma down demo -f group.yaml",
        "dtma down demo --force --grace 3",
        "dtma up --no-wait --timeout 3s",
        "dtma up --timeout 2h",
        "dtma apply --dry-run --no-wait",
        "dtma scale",
        "dtma scale web=0",
        "dtma scale web -n 33",
        "dtma exec web",
        "dtma exec web --timeout 11m -- x",
        "dtma operations ls --kind dance",
        "dtma operations ls -n 0",
        "dtma audit --outcome fine",
        "dtma audit --since soon",
        "dtma restart",
        "dtma restart a --group demo",
        "dtma logs",
        "dtma logs -f --until 1m a",
        "dtma logs a --previous -f",
        "dtma logs a -F",
        "dtma wait demo --for soon",
        "dtma run",
        "dtma run x -p 1:2",
        "dtma explain",
        "dtma context add",
        "dtma mcp call time",
        "dtma agent config",
        "dtma agent config --client emacs",
        "dtma agent config --client zed --write --file x",
        "dtma agent config --client zed --server a --group g",
        "dtma mcp connect",
        "dtma mcp call time now --arg novalue",
        "dtma tool deploy web",
        "dtma ps -o xml",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn what_follows_the_two_dashes_goes_to_the_tool() {
    let cli = parse("dtma tool deploy web busybox --command httpd -- -f -p 80").unwrap();
    let Command::Tool(ToolCommand::Deploy(args)) = cli.command else { panic!("another command") };
    assert_eq!(args.command, ["httpd"]);
    assert_eq!(args.args, ["-f", "-p", "80"]);
}

#[test]
fn every_command_has_an_example() {
    fn check(command: &clap::Command) {
        for sub in command.get_subcommands() {
            if sub.has_subcommands() {
                check(sub);
            } else {
                let help = sub.clone().render_help().to_string();
                assert!(help.contains("Example"), "{} has no example", sub.get_name());
            }
        }
    }
    check(&Cli::command());
}
