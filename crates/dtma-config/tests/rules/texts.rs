//! Cases of what is text: images, commands, environments, labels.

use crate::case::{Case, case, set_environment, set_label, text, tool_case, words};
use dtma_config::rule;
use dtma_core::spec::{GroupSpec, ServerSpec};

pub(crate) fn text_cases() -> Vec<Case> {
    let command = |server: &mut ServerSpec, command: Vec<String>| server.command = Some(command);
    let args = |server: &mut ServerSpec, args: Vec<String>| server.args = Some(args);
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let reserved = |endpoint: &'static str| {
        move |group: &mut GroupSpec| {
            set_environment(&mut group.servers[0], ("MCP_ENDPOINT".into(), endpoint.into()));
        }
    };
    let group_label =
        |key: &'static str| move |group: &mut GroupSpec| drop(group.labels.insert(key.into(), String::new()));
    let variables = |server: &mut ServerSpec, count: usize| {
        server.environment = (0..count).map(|n| (format!("V{n}"), String::new())).collect();
    };
    let long_variables = |server: &mut ServerSpec, count: usize| {
        server.environment = (0..count).map(|n| (format!("V{n}"), "x".repeat(60 * 1024))).collect();
    };
    let labels = |server: &mut ServerSpec, count: usize| {
        server.labels = (0..count).map(|n| (format!("l{n}"), String::new())).collect();
    };
    let template = |server: &mut ServerSpec, name: &str| server.template = Some(name.to_owned());
    let image = |server: &mut ServerSpec, image: &str| server.image = image.into();
    let env = "/servers/1/environment";
    vec![
        tool_case(rule::TEMPLATE_UNKNOWN, "/servers/1/template", template, ("nobody", "minimal")),
        tool_case(rule::IMAGE_SYNTAX, "/servers/1/image", image, ("a b", "a-b")),
        tool_case(rule::IMAGE_SYNTAX, "/servers/1/image", image, ("Library/x", "library/x")),
        tool_case(rule::COMMAND_EMPTY, "/servers/1/command", command, (words(&[]), words(&["httpd"]))),
        tool_case(rule::COMMAND_EMPTY, "/servers/1/command", command, (words(&["", "x"]), words(&["x", ""]))),
        tool_case(
            rule::COMMAND_SYNTAX,
            "/servers/1/command/1",
            command,
            (words(&["a", "\0"]), words(&["a", "\n"])),
        ),
        tool_case(rule::COMMAND_SYNTAX, "/servers/1/args/0", args, (vec![text(65_537)], vec![text(65_536)])),
        tool_case(rule::COMMAND_SYNTAX, "/servers/1/args", args, (vec![text(1); 513], vec![text(1); 512])),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/A B",
            set_environment,
            (variable("A B", ""), variable("A_B", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/A=B",
            set_environment,
            (variable("A=B", ""), variable("A", "=B")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/",
            set_environment,
            (variable("", "x"), variable("x", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_NAME,
            "/servers/1/environment/a~1~0\0",
            set_environment,
            (variable("a/~\0", ""), variable("a/~", "")),
        ),
        tool_case(
            rule::ENVIRONMENT_VALUE,
            "/servers/1/environment/A",
            set_environment,
            (variable("A", "x\0y"), variable("A", "x\ny")),
        ),
        tool_case(rule::ENVIRONMENT_TOO_LARGE, env, variables, (513, 512)),
        tool_case(rule::ENVIRONMENT_TOO_LARGE, env, long_variables, (4, 3)),
        case(
            rule::ENVIRONMENT_RESERVED,
            "/servers/0/environment/MCP_ENDPOINT",
            reserved("/other"),
            reserved("/mcp"),
        ),
        tool_case(
            rule::ENVIRONMENT_RESERVED,
            "/servers/1/environment/DTMA_SHIM",
            set_environment,
            (variable("DTMA_SHIM", "x"), variable("DTMA_SHIMS", "x")),
        ),
        tool_case(
            rule::LABELS_RESERVED,
            "/servers/1/labels/io.dtma.owner",
            set_label,
            (("io.dtma.owner", text(1)), ("io.dtmax", text(1))),
        ),
        tool_case(
            rule::LABELS_RESERVED,
            "/servers/1/labels/IO.DTMA.x",
            set_label,
            (("IO.DTMA.x", text(1)), ("x.io.dtma.x", text(1))),
        ),
        case(
            rule::LABELS_RESERVED,
            "/labels/io.dtma.group",
            group_label("io.dtma.group"),
            group_label("group"),
        ),
        tool_case(rule::LABELS_SYNTAX, "/servers/1/labels/", set_label, (("", text(1)), ("a", text(0)))),
        tool_case(
            rule::LABELS_SYNTAX,
            "/servers/1/labels/a",
            set_label,
            (("a", text(4097)), ("a", text(4096))),
        ),
        tool_case(rule::LABELS_TOO_LARGE, "/servers/1/labels", labels, (65, 64)),
    ]
}
