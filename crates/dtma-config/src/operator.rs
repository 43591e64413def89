//! An operator's own templates: variations of the built-in ones or of each other.
//!
//! Like the built-in variations they have no field for the isolation. The policy's ceilings hold over them too, when
//! a server is judged.

use crate::policy::MIB;
use crate::template::{Template, TemplateTmpfs, TemplateValues, Templates};
use serde::Deserialize;

/// A template as an operator writes it. What is left out is inherited.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateFile {
    /// Its name, 1 to 63 of `a-z`, `A-Z`, `0-9`, `_`, `.`, `-`.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// The template it varies; `standard` when it says none.
    #[serde(default)]
    pub inherits: Option<String>,
    /// Bytes.
    #[serde(default)]
    pub memory: Option<u64>,
    /// Thousandths of a CPU.
    #[serde(default)]
    pub cpu_millis: Option<u32>,
    /// Most processes and threads.
    #[serde(default)]
    pub pids: Option<u32>,
    /// Soft limit of open files.
    #[serde(default)]
    pub nofile_soft: Option<u64>,
    /// Hard limit of open files.
    #[serde(default)]
    pub nofile_hard: Option<u64>,
    /// Instead of the inherited ones.
    #[serde(default)]
    pub tmpfs: Option<Vec<TemplateTmpfs>>,
    /// Bytes of one log file.
    #[serde(default)]
    pub log_max_size: Option<u64>,
    /// Log files kept.
    #[serde(default)]
    pub log_max_files: Option<u32>,
}

/// Less does not hold a process.
const SMALLEST_MEMORY: u64 = 6 * MIB;

impl Templates {
    /// The built-in templates and these.
    ///
    /// # Errors
    /// Every mistake, with the index of the file it is in.
    pub fn with(files: &[TemplateFile]) -> Result<Self, Vec<(usize, String)>> {
        let mut templates = Self::builtin();
        let mut wrong: Vec<_> = names(files, &templates);
        let mut open: Vec<_> = files.iter().enumerate().collect();
        // Each round resolves those whose parent is resolved; a round that resolves none leaves the impossible.
        while !open.is_empty() {
            let before = open.len();
            open.retain(|(_, file)| match templates.get(parent(file)) {
                Some(parent) => {
                    let template = varied(parent, file);
                    templates.add(template);
                    false
                }
                None => true,
            });
            if open.len() == before {
                wrong.extend(open.iter().map(|(index, file)| (*index, without_parent(file, files))));
                break;
            }
        }
        for (index, file) in files.iter().enumerate() {
            let resolved = templates.get(&file.name);
            wrong.extend(resolved.into_iter().flat_map(problems).map(|problem| (index, problem)));
        }
        wrong.sort();
        wrong.dedup();
        if wrong.is_empty() { Ok(templates) } else { Err(wrong) }
    }
}

fn parent(file: &TemplateFile) -> &str {
    file.inherits.as_deref().unwrap_or(crate::STANDARD)
}

fn names(files: &[TemplateFile], builtin: &Templates) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let name = &file.name;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 63 || !name.chars().all(allowed) {
            wrong.push((index, format!("name: {name:?} is not 1 to 63 of a-z, A-Z, 0-9, _, . and -")));
        }
        if builtin.get(name).is_some() {
            wrong.push((index, format!("name: {name:?} is the name of a built-in template")));
        }
        if files.iter().take(index).any(|earlier| earlier.name == *name) {
            wrong.push((index, format!("name: another file has a template {name:?} already")));
        }
    }
    wrong
}

fn without_parent(file: &TemplateFile, files: &[TemplateFile]) -> String {
    let mut chain = vec![file.name.as_str()];
    let mut at = file;
    loop {
        let wanted = parent(at);
        let Some(next) = files.iter().find(|other| other.name == wanted) else {
            return format!("inherits: there is no template {wanted:?}");
        };
        let seen = chain.contains(&wanted);
        chain.push(wanted);
        if seen {
            return format!("inherits: a cycle: {}", chain.join(" -> "));
        }
        at = next;
    }
}

fn varied(parent: &Template, file: &TemplateFile) -> Template {
    let from = &parent.values;
    Template {
        name: file.name.clone(),
        description: file.description.clone(),
        inherits: Some(parent.name.clone()),
        values: TemplateValues {
            memory: file.memory.unwrap_or(from.memory),
            cpu_millis: file.cpu_millis.unwrap_or(from.cpu_millis),
            pids: file.pids.unwrap_or(from.pids),
            nofile_soft: file.nofile_soft.unwrap_or(from.nofile_soft),
            nofile_hard: file.nofile_hard.unwrap_or(from.nofile_hard),
            tmpfs: file.tmpfs.clone().unwrap_or_else(|| from.tmpfs.clone()),
            log_max_size: file.log_max_size.unwrap_or(from.log_max_size),
            log_max_files: file.log_max_files.unwrap_or(from.log_max_files),
            ..from.clone()
        },
    }
}

fn problems(template: &Template) -> Vec<String> {
    let values = &template.values;
    let mut found = Vec::new();
    let mut check = |holds: bool, problem: String| {
        if !holds {
            found.push(problem);
        }
    };
    check(
        values.memory >= SMALLEST_MEMORY,
        format!("memory: {} bytes are fewer than the engine's least, {SMALLEST_MEMORY}", values.memory),
    );
    check(values.cpu_millis >= 1, "cpuMillis: it must be 1 at least".to_owned());
    check(values.pids >= 1, "pids: it must be 1 at least".to_owned());
    check(
        (1..=values.nofile_hard).contains(&values.nofile_soft),
        format!(
            "nofileSoft: {} does not lie between 1 and nofileHard, {}",
            values.nofile_soft, values.nofile_hard
        ),
    );
    check(values.log_max_size >= 1024, "logMaxSize: it must be 1024 bytes at least".to_owned());
    check(values.log_max_files >= 1, "logMaxFiles: it must be 1 at least".to_owned());
    for (index, tmpfs) in values.tmpfs.iter().enumerate() {
        let target = &tmpfs.target;
        let sound =
            target.starts_with('/') && target.len() > 1 && !target.split('/').any(|part| part == "..");
        check(sound, format!("tmpfs[{index}].target: {target:?} is not an absolute path below /"));
        let ours = dtma_core::shim::owns(target);
        check(!ours, format!("tmpfs[{index}].target: {target:?} is the daemon's own"));
        let taken = values.tmpfs.iter().take(index).any(|other| other.target == *target);
        check(!taken, format!("tmpfs[{index}].target: {target:?} is there twice"));
        check(tmpfs.size >= 4096, format!("tmpfs[{index}].size: it must be 4096 bytes at least"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: serde_json::Value) -> TemplateFile {
        serde_json::from_value(json).unwrap()
    }

    #[track_caller]
    fn check(files: &[serde_json::Value], expected: &[(usize, &str)]) {
        let wrong =
            Templates::with(&files.iter().cloned().map(file).collect::<Vec<_>>()).err().unwrap_or_default();
        assert_eq!(wrong.len(), expected.len(), "{wrong:#?}");
        for ((index, problem), (at, words)) in wrong.iter().zip(expected) {
            assert!(index == at && problem.contains(words), "{index}: {problem} should be {at}: {words}");
        }
    }

    #[test]
    fn the_order_of_files_does_not_matter() {
        use serde_json::json;
        check(&[json!({"name": "b", "inherits": "a"}), json!({"name": "a", "inherits": "minimal"})], &[]);
    }

    #[test]
    fn mistakes_are_named() {
        use serde_json::json;
        check(&[json!({"name": "a", "inherits": "nobody"})], &[(0, "there is no template \"nobody\"")]);
        let cycle = [json!({"name": "a", "inherits": "b"}), json!({"name": "b", "inherits": "a"})];
        check(&cycle, &[(0, "a cycle: a -> b -> a"), (1, "a cycle: b -> a -> b")]);
        check(&[json!({"name": "standard"})], &[(0, "built-in")]);
        check(&[json!({"name": "a"}), json!({"name": "a"})], &[(1, "already")]);
        check(
            &[json!({"name": "a b", "memory": 1, "pids": 0})],
            &[(0, "memory: 1"), (0, "name: "), (0, "pids: ")],
        );
        let tmpfs = json!([{"target": "/a/../b", "size": 4096}, {"target": "/c", "size": 1}]);
        check(&[json!({"name": "a", "tmpfs": tmpfs})], &[(0, "tmpfs[0].target"), (0, "tmpfs[1].size")]);
        let tmpfs = json!([{"target": "/.dtma/run", "size": 4096}]);
        check(&[json!({"name": "a", "tmpfs": tmpfs})], &[(0, "tmpfs[0].target")]);
    }
}
