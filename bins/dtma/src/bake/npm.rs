//! npm packages, run by this machine's Node.

use super::process::run;
use super::{Package, Program, libraries, tree};
use crate::exit::Exit;
use crate::failure::Failure;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tokio::process::Command;

const REMEDY: &str = "it needs Node.js with npm here (apt install npm, or nodejs.org) and a way to the npm registry; \
                      an image made elsewhere needs neither: dtma run IMAGE";

/// Installs the package below `root/app` and Node beside it.
pub(super) async fn install(package: &Package, root: &Path) -> Result<Program, Failure> {
    let app = root.join("app");
    let unusable = |error: std::io::Error| super::no_room(&error);
    std::fs::write(app.join("package.json"), "{\"private\":true}\n").map_err(unusable)?;
    let version = package.version.as_deref().unwrap_or("latest");
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--omit=dev",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
    ]);
    npm.arg("--prefix").arg(&app).arg(format!("{}@{version}", package.name)).current_dir(&app);
    run(&mut npm, REMEDY).await?;
    let node = run(Command::new("node").args(["-p", "process.execPath"]), REMEDY).await?;
    let node = PathBuf::from(node.trim());
    tree::copy(&node, root, "usr/bin/node").map_err(unusable)?;
    libraries::lay(&[node], root).await?;
    program(package, &app)
}

fn program(package: &Package, app: &Path) -> Result<Program, Failure> {
    let folder = Path::new("node_modules").join(&package.name);
    let broken = |problem: String| {
        Failure::new(Exit::Failed, format!("{} is no program", package.name)).cause(problem)
    };
    let text = std::fs::read_to_string(app.join(&folder).join("package.json"));
    let about: Value = text
        .map_err(|error| error.to_string())
        .and_then(|text| serde_json::from_str(&text).map_err(|error| error.to_string()))
        .map_err(broken)?;
    let script =
        script(package, &about).ok_or_else(|| broken("its package.json names no single bin".into()))?;
    let path = Path::new("/app").join(folder).join(script.trim_start_matches("./"));
    Ok(Program {
        version: about["version"].as_str().unwrap_or("unknown").to_owned(),
        entrypoint: vec!["/usr/bin/node".into(), path.display().to_string()],
        environment: vec!["NODE_ENV=production".into()],
    })
}

/// As `npx` chooses: the only one, or the one named like the package.
fn script<'a>(package: &Package, about: &'a Value) -> Option<&'a str> {
    match &about["bin"] {
        Value::String(script) => Some(script),
        Value::Object(scripts) if scripts.len() == 1 => scripts.values().next()?.as_str(),
        Value::Object(scripts) => scripts.get(package.name.rsplit('/').next()?)?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_program_is_chosen_as_npx_chooses_it() {
        let package = Package::read("npx:@org/server").unwrap().unwrap();
        for (bin, chosen) in [
            (json!("./a.js"), Some("./a.js")),
            (json!({"x": "b.js"}), Some("b.js")),
            (json!({"x": "b.js", "server": "c.js"}), Some("c.js")),
            (json!({"x": "b.js", "y": "c.js"}), None),
            (json!(null), None),
        ] {
            assert_eq!(script(&package, &json!({"bin": bin})), chosen);
        }
    }
}
