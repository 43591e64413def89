//! What MCP servers offer, as JSON that is written once for each change: an answer is put together from what is in
//! memory and asks nobody.

use crate::app::App;
use crate::compat::view as words;
use crate::view;
use dtma_api_types as wire;
use dtma_core::catalogue::{Catalogue, Items};
use dtma_core::change::FieldChange;
use dtma_core::contract::{Drift, Kind, Pinning, digest};
use dtma_core::id::InstanceName;
use dtma_manager::{Discovered, ServerStatus};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// The written parts, by server.
#[derive(Default)]
pub(crate) struct Prepared(Mutex<HashMap<InstanceName, Arc<Part>>>);

/// What of a server changes only when it is discovered anew.
struct Part {
    of: Arc<Discovered>,
    /// The members of an object, without its braces.
    json: String,
    tools: BTreeSet<String>,
    capabilities: BTreeSet<String>,
}

/// Which servers; what is absent fits all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) group: Option<String>,
    pub(crate) instance: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) capability: Option<String>,
}

/// An answer.
pub(crate) struct Told {
    /// The whole body, in its envelope.
    pub(crate) body: String,
    /// Another one for every other answer, but for the age of what is told.
    pub(crate) tag: String,
}

impl Prepared {
    /// The answer to a question.
    pub(crate) fn tell(&self, app: &App, filter: &Filter) -> Told {
        let groups = app.manager().groups();
        let servers = groups.iter().flat_map(|group| &group.servers);
        let servers: HashMap<&InstanceName, &ServerStatus> =
            servers.map(|server| (&server.instance, server)).collect();
        let known = app.manager().discovery();
        let parts = self.parts(&known);
        let (mut body, mut tag, mut total) = (String::new(), app.started_at().to_string(), 0_usize);
        for part in parts.iter().filter(|part| filter.fits(part)) {
            let Some(status) = servers.get(&part.of.instance) else { continue };
            let separator = if total > 0 { "," } else { "" };
            let light = light(&part.of, status, app);
            body.push_str(&format!("{separator}{{{light},{}}}", part.json));
            tag.push_str(&format!(
                " {}:{}:{}",
                part.of.instance,
                part.of.revision,
                words::word(&status.phase)
            ));
            total += 1;
        }
        let message = format!("{total} MCP server(s)");
        let body = format!(
            r#"{{"success":true,"message":"{message}","data":{{"servers":[{body}],"total":{total}}}}}"#
        );
        let tag = digest(&tag);
        Told { body, tag: format!("W/\"{}\"", tag.get(..32).unwrap_or_default()) }
    }

    fn parts(&self, known: &[Arc<Discovered>]) -> Vec<Arc<Part>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut part = |known: &Arc<Discovered>| {
            let fresh = kept.get(&known.instance).filter(|part| Arc::ptr_eq(&part.of, known)).cloned();
            let part = fresh.unwrap_or_else(|| Arc::new(Part::new(known)));
            kept.insert(known.instance.clone(), Arc::clone(&part));
            part
        };
        let parts: Vec<_> = known.iter().map(&mut part).collect();
        if kept.len() > parts.len() {
            kept.retain(|name, _| known.iter().any(|known| known.instance == *name));
        }
        parts
    }
}

impl Filter {
    fn fits(&self, part: &Part) -> bool {
        let is = |wanted: &Option<String>, what: &str| wanted.as_ref().is_none_or(|wanted| wanted == what);
        is(&self.group, part.of.group.as_str())
            && is(&self.instance, part.of.instance.as_str())
            && self.tool.as_ref().is_none_or(|tool| part.tools.contains(tool))
            && self.capability.as_ref().is_none_or(|wanted| part.capabilities.contains(wanted))
    }
}

/// The members of a value that is written as an object, without its braces.
fn members(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

/// What changes without anybody discovering anything.
fn light(known: &Discovered, status: &ServerStatus, app: &App) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Light {
        transport_type: Option<wire::Transport>,
        phase: wire::PhaseWord,
        health_status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        age_seconds: Option<u64>,
    }
    let age = |catalogue: &Arc<Catalogue>| app.now().duration_since(catalogue.at).as_secs();
    let (_, health_status) = words::mcp_state(words::word(&status.phase));
    members(&Light {
        transport_type: view::transport(status.kind),
        phase: view::phase(&status.phase),
        health_status,
        age_seconds: known.catalogue.as_ref().map(|catalogue| u64::try_from(age(catalogue)).unwrap_or(0)),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Heavy<'a> {
    instance_id: &'a InstanceName,
    instance_name: &'a InstanceName,
    group_id: String,
    endpoint_url: String,
    stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: &'a Option<String>,
    #[serde(flatten)]
    offer: Option<Offer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    cut: BTreeMap<&'static str, &'a String>,
    pinning: wire::Pinning,
    contract_drift: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    discovered_at: String,
    last_health_check: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_id: Option<String>,
    config_hash: String,
    generation: u64,
}

impl Part {
    fn new(known: &Arc<Discovered>) -> Self {
        let catalogue = known.catalogue.as_deref();
        let greeting =
            catalogue.map(|catalogue| Greeting::read(&catalogue.offers.greeting)).unwrap_or_default();
        let none = Items::default();
        let lists = catalogue.map(|catalogue| &catalogue.offers);
        let lists: [(&'static str, &Items); 4] = [
            ("tools", lists.map_or(&none, |offers| &offers.tools)),
            ("prompts", lists.map_or(&none, |offers| &offers.prompts)),
            ("resources", lists.map_or(&none, |offers| &offers.resources)),
            ("resourceTemplates", lists.map_or(&none, |offers| &offers.templates)),
        ];
        let heavy = Heavy {
            instance_id: &known.instance,
            instance_name: &known.instance,
            group_id: known.group.to_string(),
            endpoint_url: format!("/gateway/servers/{}/mcp", known.instance),
            stale: known.stale,
            problem: &known.problem,
            offer: catalogue.map(offer),
            protocol_version: greeting.protocol_version,
            instructions: greeting.instructions,
            cut: lists.iter().filter_map(|(name, items)| Some((*name, items.cut.as_ref()?))).collect(),
            pinning: pinning(known.pinning),
            contract_drift: known.drift.len(),
        };
        let mut json = members(&heavy);
        for (name, raw) in [("serverInfo", &greeting.server_info), ("capabilities", &greeting.capabilities)] {
            json.extend(raw.iter().map(|raw| format!(r#","{name}":{}"#, raw.get())));
        }
        for (name, items) in lists {
            json.push_str(&format!(r#","{name}":[{}]"#, items.raw.join(",")));
        }
        Self { of: Arc::clone(known), json, tools: names(lists[0].1), capabilities: greeting.declared }
    }
}

fn offer(catalogue: &Catalogue) -> Offer {
    let at = catalogue.at.to_string();
    Offer {
        last_health_check: at.clone(),
        discovered_at: at,
        image_id: catalogue.image.as_ref().map(ToString::to_string),
        config_hash: catalogue.config.to_string(),
        generation: catalogue.generation.0,
    }
}

fn names(tools: &Items) -> BTreeSet<String> {
    let name =
        |raw: &String| Some(serde_json::from_str::<Value>(raw).ok()?.get("name")?.as_str()?.to_owned());
    tools.raw.iter().filter_map(name).collect()
}

/// What a server answered to the handshake, in the parts that are told.
#[derive(Default)]
struct Greeting {
    protocol_version: Option<String>,
    instructions: Option<String>,
    server_info: Option<Box<RawValue>>,
    capabilities: Option<Box<RawValue>>,
    declared: BTreeSet<String>,
}

impl Greeting {
    fn read(raw: &str) -> Self {
        let mut fields: HashMap<String, Box<RawValue>> = serde_json::from_str(raw).unwrap_or_default();
        let text = |raw: Option<Box<RawValue>>| serde_json::from_str(raw?.get()).ok();
        let capabilities = fields.remove("capabilities");
        let declared: Option<BTreeMap<String, Value>> =
            capabilities.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
        Self {
            protocol_version: text(fields.remove("protocolVersion")),
            instructions: text(fields.remove("instructions")),
            server_info: fields.remove("serverInfo"),
            declared: declared.unwrap_or_default().into_keys().collect(),
            capabilities,
        }
    }
}

/// The contract of a server.
pub(crate) fn contract(known: &Discovered) -> wire::ContractView {
    wire::ContractView {
        instance_name: known.instance.to_string(),
        group_id: known.group.to_string(),
        pinning: pinning(known.pinning),
        approved: known.contract.as_deref().map(|contract| wire::ApprovedView {
            hash: contract.hash(),
            at: contract.at.to_string(),
            by: contract.author.clone(),
            image_id: contract.image.as_ref().map(ToString::to_string),
            config_hash: contract.config.to_string(),
            tools: contract.tools.iter().map(|(name, tool)| (name.clone(), digest(tool))).collect(),
        }),
        offered_hash: known.offered_hash(),
        offered_at: known.catalogue.as_ref().map(|catalogue| catalogue.at.to_string()),
        stale: known.stale,
        drift: known.drift.iter().map(|drift| self::drift(drift, known.pinning)).collect(),
    }
}

fn drift(drift: &Drift, pinning: Pinning) -> wire::DriftView {
    let (change, fields) = match &drift.kind {
        Kind::Added => (wire::DriftKind::Added, &[][..]),
        Kind::Removed => (wire::DriftKind::Removed, &[][..]),
        Kind::Changed(fields) => (wire::DriftKind::Changed, &fields[..]),
    };
    wire::DriftView {
        tool: drift.tool.clone(),
        change,
        quarantined: pinning == Pinning::Quarantine && change != wire::DriftKind::Removed,
        fields: fields.iter().map(field).collect(),
        lines: drift.lines(),
    }
}

fn field(field: &FieldChange) -> wire::FieldDiff {
    wire::FieldDiff { path: field.path.clone(), from: field.from.clone(), to: field.to.clone() }
}

fn pinning(pinning: Pinning) -> wire::Pinning {
    match pinning {
        Pinning::Off => wire::Pinning::Off,
        Pinning::Warn => wire::Pinning::Warn,
        Pinning::Quarantine => wire::Pinning::Quarantine,
    }
}
