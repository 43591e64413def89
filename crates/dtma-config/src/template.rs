//! The hardened profile a container starts from, as data, and the named variations of it.
//!
//! A variation ([`Layer`]) changes sizes only: it has no field for the isolation, so inheriting cannot loosen it.

use crate::policy::MIB;
use dtma_core::container::{Isolation, Limits};
use serde::{Deserialize, Serialize};

/// The template used when a server names none.
pub const STANDARD: &str = "standard";

/// A template with everything it inherits resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is for, in one sentence.
    pub description: String,
    /// The template it varies.
    pub inherits: Option<String>,
    /// Its values, inherited ones included.
    pub values: TemplateValues,
}

/// What a template decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateValues {
    /// Bytes of memory; swap is not added to it.
    pub memory: u64,
    /// Thousandths of a CPU.
    pub cpu_millis: u32,
    /// Most processes and threads.
    pub pids: u32,
    /// Soft limit of open files.
    pub nofile_soft: u64,
    /// Hard limit of open files.
    pub nofile_hard: u64,
    /// Who dies first when the machine runs out of memory (-1000..=1000).
    pub oom_score_adj: i32,
    /// Root filesystem without writes.
    pub read_only_root: bool,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// `execve` gains nothing.
    pub no_new_privileges: bool,
    /// A tiny init as PID 1.
    pub init: bool,
    /// Memory mounted for what must be writable, always `noexec,nosuid,nodev`.
    pub tmpfs: Vec<TemplateTmpfs>,
    /// Bytes of one log file of a tool; a stdio server's output is written nowhere.
    pub log_max_size: u64,
    /// Log files kept.
    pub log_max_files: u32,
}

/// A tmpfs of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TemplateTmpfs {
    /// Absolute path inside.
    pub target: String,
    /// Most bytes.
    pub size: u64,
}

impl TemplateValues {
    /// The limits, before a server asks for others.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            memory: self.memory,
            cpu_millis: self.cpu_millis,
            pids: self.pids,
            nofile_soft: self.nofile_soft,
            nofile_hard: self.nofile_hard,
            oom_score_adj: self.oom_score_adj,
        }
    }

    /// The isolation, which nothing can loosen.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        Isolation {
            read_only_root: self.read_only_root,
            cap_drop: self.cap_drop.clone(),
            no_new_privileges: self.no_new_privileges,
            init: self.init,
        }
    }
}

/// What a variation changes.
struct Layer {
    name: &'static str,
    description: &'static str,
    memory: u64,
    cpu_millis: u32,
    pids: u32,
}

const LAYERS: [Layer; 3] = [
    Layer {
        name: "package-runner",
        description: "For images that install or compile at start (npx, uvx): more of everything, no less safe.",
        memory: 1024 * MIB,
        cpu_millis: 1000,
        pids: 256,
    },
    Layer {
        name: "minimal",
        description: "For small static programs.",
        memory: 64 * MIB,
        cpu_millis: 250,
        pids: 32,
    },
    Layer {
        name: "high-performance",
        description: "As much as the default policy allows one server.",
        memory: 2048 * MIB,
        cpu_millis: 2000,
        pids: 512,
    },
];

impl Template {
    fn standard() -> Self {
        let tmpfs = |target: &str, size| TemplateTmpfs { target: target.to_owned(), size };
        Self {
            name: STANDARD.to_owned(),
            description: "The hardened profile that every server gets unless it names another.".to_owned(),
            inherits: None,
            values: TemplateValues {
                memory: 256 * MIB,
                cpu_millis: 500,
                pids: 128,
                nofile_soft: 1024,
                nofile_hard: 4096,
                oom_score_adj: 500,
                read_only_root: true,
                cap_drop: vec!["ALL".to_owned()],
                no_new_privileges: true,
                init: true,
                tmpfs: vec![tmpfs("/tmp", 64 * MIB), tmpfs("/run", 16 * MIB)],
                log_max_size: 10 * MIB,
                log_max_files: 3,
            },
        }
    }

    fn varied(&self, layer: &Layer) -> Self {
        Self {
            name: layer.name.to_owned(),
            description: layer.description.to_owned(),
            inherits: Some(self.name.clone()),
            values: TemplateValues {
                memory: layer.memory,
                cpu_millis: layer.cpu_millis,
                pids: layer.pids,
                ..self.values.clone()
            },
        }
    }
}

/// The templates a server may name; `standard` is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    standard: Template,
    others: Vec<Template>,
}

impl Templates {
    /// The templates that come with the program.
    #[must_use]
    pub fn builtin() -> Self {
        let standard = Template::standard();
        let others = LAYERS.iter().map(|layer| standard.varied(layer)).collect();
        Self { standard, others }
    }

    /// All of them, `standard` first.
    pub fn list(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.standard).chain(&self.others)
    }

    /// The template of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Template> {
        self.list().find(|template| template.name == name)
    }

    pub(crate) fn add(&mut self, template: Template) {
        self.others.push(template);
    }

    /// What a server gets that names none.
    #[must_use]
    pub fn standard(&self) -> &Template {
        &self.standard
    }
}
