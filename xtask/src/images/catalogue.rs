//! The images themselves: the reference MCP servers of npm and PyPI, a fixture of ours, and a plain tool.

use super::recipe::{Proof, Recipe, Source};

const NODE: &str = r#"
ENV PATH=/usr/bin HOME=/tmp NODE_ENV=production
"#;

/// Compiled in advance: a server's first answer comes in 1 s instead of 3 s, and a read-only file system
/// would never keep what Python compiles at run time.
const PYTHON: &str = r#"
ENV PATH=/usr/bin HOME=/tmp LANG=C.UTF-8 TZ=UTC PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "/usr/lib"]
"#;

const EVERYTHING: &str = r#"
ENTRYPOINT ["/usr/bin/node", "/app/node_modules/@modelcontextprotocol/server-everything/dist/index.js"]
CMD ["stdio"]
"#;

const FILESYSTEM: &str = r#"
ENTRYPOINT ["/usr/bin/node", "/app/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"]
CMD ["/data"]
"#;

const MEMORY: &str = r#"
ENV MEMORY_FILE_PATH=/data/memory.jsonl
ENTRYPOINT ["/usr/bin/node", "/app/node_modules/@modelcontextprotocol/server-memory/dist/index.js"]
"#;

const TIME: &str = r#"
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "/app"]
ENTRYPOINT ["/usr/bin/python3", "-m", "mcp_server_time"]
"#;

/// The server makes no repositories itself, so `/data` is one: an empty volume mounted there takes it over.
const GIT: &str = r#"
WORKDIR /data
ENV GIT_PYTHON_GIT_EXECUTABLE=/usr/bin/git
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "/app"]
USER 65532:65532
RUN ["/usr/bin/git", "init", "--quiet", "--initial-branch=main", "/data"]
RUN ["/usr/bin/git", "commit", "--quiet", "--allow-empty", "--message=Begin"]
ENTRYPOINT ["/usr/bin/python3", "-m", "mcp_server_git"]
"#;

const FETCH: &str = r#"
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "/app"]
ENTRYPOINT ["/usr/bin/python3", "-m", "mcp_server_fetch"]
"#;

/// A mounted volume may belong to another user than the server; a commit needs an author.
const GITCONFIG: &str = "[safe]\n\tdirectory = *\n[user]\n\tname = mcp-server-git\n\temail = git@localhost\n";

const FIXTURE: &str = r#"
ENTRYPOINT ["/usr/bin/python3", "/app/conf_stdio_fixture.py"]
"#;

const BUSYBOX: &str = r#"
ENV PATH=/usr/bin HOME=/tmp
RUN ["/bin/busybox", "--install", "-s", "/usr/bin"]
WORKDIR /www
CMD ["sh"]
"#;

const RUNTIME: &str = r#"
RUN ["/usr/bin/python3", "-m", "compileall", "-q", "/opt/pypi"]
ENTRYPOINT ["/usr/bin/python3", "/opt/mcp_server_runtime.py"]
CMD []
"#;

/// What the generic image can run, and what a package gets when its user gives no arguments.
const PACKAGES: &str = r#"{
  "npm:@modelcontextprotocol/server-everything": {"root": "/opt/npm/everything", "args": ["stdio"]},
  "npm:@modelcontextprotocol/server-filesystem": {"root": "/opt/npm/filesystem", "args": ["/data"]},
  "npm:@modelcontextprotocol/server-memory":
    {"root": "/opt/npm/memory", "environment": {"MEMORY_FILE_PATH": "/data/memory.jsonl"}},
  "pypi:mcp-server-git": {"root": "/app"},
  "pypi:mcp-server-time": {"root": "/opt/pypi/time"}
}
"#;

/// Every image, bases before what stands on them.
pub(crate) fn all() -> Vec<Recipe> {
    vec![
        node_base(),
        python_base(),
        busybox(),
        everything(),
        filesystem(),
        memory(),
        time(),
        git(),
        fetch(),
        fixture(),
        runtime(),
    ]
}

fn node_base() -> Recipe {
    let sources = vec![Source::Debian(&["libc6", "libstdc++6", "libgcc-s1"]), Source::Node];
    Recipe { name: "base-node", base: None, sources, setup: NODE, proof: Proof::Base }
}

fn python_base() -> Recipe {
    let sources = vec![Source::Debian(&["python3-minimal", "libpython3-stdlib"])];
    Recipe { name: "base-python", base: None, sources, setup: PYTHON, proof: Proof::Base }
}

fn busybox() -> Recipe {
    let sources =
        vec![Source::Debian(&["busybox-static"]), Source::Text("www/index.html", "<p>It works.</p>\n")];
    Recipe { name: "busybox", base: None, sources, setup: BUSYBOX, proof: Proof::Exits(&["httpd", "--help"]) }
}

fn everything() -> Recipe {
    on_node("mcp-everything", "@modelcontextprotocol/server-everything@2026.8.31", EVERYTHING, "echo")
}

fn filesystem() -> Recipe {
    on_node("mcp-filesystem", "@modelcontextprotocol/server-filesystem@2026.8.31", FILESYSTEM, "write_file")
}

fn memory() -> Recipe {
    on_node("mcp-memory", "@modelcontextprotocol/server-memory@2026.8.31", MEMORY, "create_entities")
}

fn on_node(name: &'static str, package: &'static str, setup: &'static str, tool: &'static str) -> Recipe {
    let base = Some(Box::new(node_base()));
    Recipe { name, base, sources: vec![Source::Npm(package)], setup, proof: Proof::Lists(tool) }
}

fn time() -> Recipe {
    on_python("mcp-server-time", vec![Source::Pip("mcp-server-time==2026.10.19")], TIME, "get_current_time")
}

fn git() -> Recipe {
    let git = Source::Debian(&["git"]);
    let sources =
        vec![git, Source::Pip("mcp-server-git==2026.10.19"), Source::Text("etc/gitconfig", GITCONFIG)];
    on_python("mcp-server-git", sources, GIT, "git_commit")
}

fn fetch() -> Recipe {
    on_python("mcp-server-fetch", vec![Source::Pip("mcp-server-fetch==2026.10.24")], FETCH, "fetch")
}

/// The generic image: all servers above in one, on the one with the most below it.
fn runtime() -> Recipe {
    let app = |recipe: Recipe, to| Source::App(Box::new(recipe), to);
    let sources = vec![
        Source::Debian(&["libstdc++6", "libgcc-s1"]),
        Source::Node,
        app(everything(), "/opt/npm/everything"),
        app(filesystem(), "/opt/npm/filesystem"),
        app(memory(), "/opt/npm/memory"),
        app(time(), "/opt/pypi/time"),
        Source::File("xtask/src/images/mcp_server_runtime.py", "opt/mcp_server_runtime.py"),
        Source::Text("opt/packages.json", PACKAGES),
    ];
    let proof = Proof::ListsWith(&[
        ("MCP_PACKAGE=npm:@modelcontextprotocol/server-everything", "echo"),
        ("MCP_PACKAGE=npm:@modelcontextprotocol/server-filesystem", "write_file"),
        ("MCP_PACKAGE=npm:@modelcontextprotocol/server-memory", "create_entities"),
        ("MCP_PACKAGE=pypi:mcp-server-git", "git_commit"),
        ("MCP_PACKAGE=pypi:mcp-server-time", "get_current_time"),
    ]);
    Recipe { name: "mcp-server-runtime", base: Some(Box::new(git())), sources, setup: RUNTIME, proof }
}

fn fixture() -> Recipe {
    let script = Source::File("tests/fixtures/conf_stdio_fixture.py", "app/conf_stdio_fixture.py");
    on_python("mcp-fixture", vec![script], FIXTURE, "test_simple_text")
}

fn on_python(name: &'static str, sources: Vec<Source>, setup: &'static str, tool: &'static str) -> Recipe {
    Recipe { name, base: Some(Box::new(python_base())), sources, setup, proof: Proof::Lists(tool) }
}
