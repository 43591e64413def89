//! PyPI packages, run by this machine's Python.

use super::process::run;
use super::{Package, Program, libraries, tree};
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const REMEDY: &str = "it needs Python 3 with pip here (apt install python3-pip) and a way to PyPI; an image made \
                      elsewhere needs neither: dtma run IMAGE";
/// What a server does not need of the standard library.
const LEFT_OUT: [&str; 9] = [
    "test",
    "idlelib",
    "tkinter",
    "turtledemo",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "dist-packages",
    "__pycache__",
];
/// Tells where this machine's Python is.
const WHERE: &str = "import json, os, sys, sysconfig\n\
    print(json.dumps({'executable': os.path.realpath(sys.executable), 'library': sysconfig.get_path('stdlib'), \
    'version': '%d.%d' % sys.version_info[:2]}))";

#[derive(Debug, Deserialize)]
struct Python {
    executable: PathBuf,
    library: PathBuf,
    version: String,
}

/// Installs the package in `root/app` and Python beside it.
pub(super) async fn install(package: &Package, root: &Path) -> Result<Program, Failure> {
    let app = root.join("app");
    let wanted = match &package.version {
        Some(version) => format!("{}=={version}", package.name),
        None => package.name.clone(),
    };
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--quiet",
        "--no-compile",
    ]);
    pip.args(["--only-binary=:all:", "--root-user-action=ignore", "--target"]).arg(&app).arg(wanted);
    run(&mut pip, REMEDY).await?;
    let python = run(Command::new("python3").args(["-c", WHERE]), REMEDY).await?;
    let python: Python = serde_json::from_str(&python).map_err(|error| {
        Failure::new(Exit::Failed, "python3 does not say where it is").cause(error.to_string())
    })?;
    lay(&python, root).await?;
    let program = program(package, &app)?;
    compile(root).await?;
    Ok(program)
}

/// The interpreter, its library and what both are linked with.
async fn lay(python: &Python, root: &Path) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| super::no_room(&error);
    tree::copy(&python.executable, root, "usr/local/bin/python3").map_err(unusable)?;
    let library = root.join(format!("usr/local/lib/python{}", python.version));
    tree::copy_all(&python.library, &library, &LEFT_OUT).map_err(unusable)?;
    let mut linked = tree::find(root, ".so").map_err(unusable)?;
    linked.push(python.executable.clone());
    libraries::lay(&linked, root).await
}

/// Compiled in advance: the root is read-only when it runs, so nothing would be kept. Not checked against times, which
/// an image's layer changes.
async fn compile(root: &Path) -> Result<(), Failure> {
    let mut command = Command::new("python3");
    command.args(["-m", "compileall", "-q", "-j", "0", "--invalidation-mode", "unchecked-hash", "-s"]);
    command.arg(root).args(["-p", "/"]).arg(root.join("app")).arg(root.join("usr/local/lib"));
    // Some packages carry files for other versions of Python; they are not used then.
    match run(&mut command, REMEDY).await {
        Ok(_) => Ok(()),
        Err(failure) if failure.exit() == Some(Exit::Failed) => Ok(()),
        Err(failure) => Err(failure),
    }
}

fn program(package: &Package, app: &Path) -> Result<Program, Failure> {
    let broken = |problem: &str| {
        let failure = Failure::new(Exit::Failed, format!("{} is no program", package.name)).cause(problem);
        failure.hint("uvx: takes packages with a command of their own")
    };
    let about = about(package, app).ok_or_else(|| broken("pip left nothing about it"))?;
    let points =
        std::fs::read_to_string(app.join(&about.folder).join("entry_points.txt")).unwrap_or_default();
    let (module, function) =
        script(package, &points).ok_or_else(|| broken("it has no single console script"))?;
    let entry = format!(
        "import sys\nfrom {module} import {} as main\nsys.exit(main{})\n",
        first(&function),
        rest(&function)
    );
    std::fs::write(app.join("dtma_entry.py"), entry).map_err(|error| super::no_room(&error))?;
    Ok(Program {
        version: about.version,
        entrypoint: vec!["/usr/local/bin/python3".into(), "/app/dtma_entry.py".into()],
        environment: ["PYTHONHOME=/usr/local", "PYTHONPATH=/app", "PYTHONUNBUFFERED=1", "LANG=C.UTF-8"]
            .map(str::to_owned)
            .into(),
    })
}

struct About {
    folder: String,
    version: String,
}

fn about(package: &Package, app: &Path) -> Option<About> {
    let folders =
        std::fs::read_dir(app).ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    folders.into_iter().find_map(|folder| {
        let (name, version) = folder.strip_suffix(".dist-info")?.rsplit_once('-')?;
        let same = normal(name) == normal(&package.name);
        same.then(|| About { version: version.to_owned(), folder: folder.clone() })
    })
}

/// A name as PyPI compares it.
fn normal(name: &str) -> String {
    let words = name.split(['-', '_', '.']).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// `module` and `function` of the console script named like the package, or of the only one.
fn script(package: &Package, points: &str) -> Option<(String, String)> {
    let section = points.split("[console_scripts]").nth(1)?;
    let lines = section.lines().skip(1).take_while(|line| !line.starts_with('['));
    let scripts: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once('=')).collect();
    let named = scripts.iter().find(|(name, _)| normal(name.trim()) == normal(&package.name));
    let (_, target) = named.or(if scripts.len() == 1 { scripts.first() } else { None })?;
    let target = target.split('[').next()?.trim();
    let (module, function) = target.split_once(':')?;
    let is_path = |path: &str| {
        path.split('.').all(|part| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_'))
    };
    (is_path(module) && is_path(function)).then(|| (module.to_owned(), function.to_owned()))
}

fn first(function: &str) -> &str {
    function.split('.').next().unwrap_or(function)
}

fn rest(function: &str) -> String {
    function.split_once('.').map_or_else(|| "()".to_owned(), |(_, rest)| format!(".{rest}()"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_the_one_named_like_the_package_or_the_only_one() {
        let package = Package::read("uvx:mcp-server-time").unwrap().unwrap();
        let points =
            |text: &str| script(&package, text).map(|(module, function)| format!("{module} {function}"));
        assert_eq!(points("[console_scripts]\nx = a.b:main\n").as_deref(), Some("a.b main"));
        assert_eq!(
            points("[gui_scripts]\ng = g:g\n[console_scripts]\nx = a:b\nmcp_server_time = c:D.run [extra]\n[o]\ny = z:z\n")
                .as_deref(),
            Some("c D.run")
        );
        for none in ["", "[console_scripts]\nx = a:b\ny = c:d\n", "[console_scripts]\nx = a;import os:b\n"] {
            assert_eq!(points(none), None, "{none}");
        }
        assert_eq!((first("D.run"), rest("D.run"), rest("main")), ("D", ".run()".into(), "()".into()));
    }

    #[test]
    fn a_package_is_found_whatever_its_spelling() {
        let app = tempfile::tempdir().unwrap();
        std::fs::create_dir(app.path().join("other-1.0.dist-info")).unwrap();
        std::fs::create_dir(app.path().join("Mcp_Server.Time-2.0.dist-info")).unwrap();
        let package = Package::read("uvx:mcp-server-time").unwrap().unwrap();
        assert_eq!(about(&package, app.path()).unwrap().version, "2.0");
    }
}
