//! `support-bundle`: what somebody needs who is to help, and nothing that must stay here.

use super::doctor;
use crate::app::{App, servers};
use crate::cli::BundleArgs;
use crate::contexts::Contexts;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::redact::Redactor;
use dtma_client::types::StatusView;
use dtma_client::{Error, EventMessage, LogOptions, OperationQuery};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt;
use serde::Serialize;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Everything lies in one folder of the archive.
const FOLDER: &str = "dtma-support";

/// `dtma support-bundle`. A daemon that does not answer makes it smaller, not impossible.
pub(super) async fn bundle(app: &App, args: &BundleArgs) -> Result<(), Failure> {
    let mut bundle = Bundle::begin(app, &args.to)?;
    bundle.text("doctor.txt", &doctor::report(app).await)?;
    bundle.json(
        "version.json",
        &serde_json::json!({"dtma": env!("CARGO_PKG_VERSION"), "url": app.client.url()}),
    )?;
    bundle.json("contexts.json", &Contexts::load(app.contexts.as_deref()).unwrap_or_default())?;
    bundle.had("templates.json", app.client.list_templates().await)?;
    bundle.had("stats.json", app.client.get_stats().await)?;
    match app.client.get_metrics().await {
        Ok(metrics) => bundle.text("metrics.txt", &metrics)?,
        Err(error) => bundle.missed("metrics.txt", &error),
    }
    events(app, &mut bundle).await?;
    bundle.had("operations.json", app.client.list_operations(&OperationQuery::default()).await)?;
    match app.client.get_status().await {
        Ok(status) => {
            bundle.json("status.json", &status)?;
            specs(app, &status, &mut bundle).await?;
            logs(app, args, &status, &mut bundle).await?;
        }
        Err(error) => bundle.missed("status.json", &error),
    }
    bundle.end()?;
    app.output.remark(&format!(
        "{} is written; read it before you give it away",
        line(&args.to.display().to_string())
    ));
    Ok(())
}

async fn events(app: &App, bundle: &mut Bundle) -> Result<(), Failure> {
    let mut told = String::new();
    match app.client.list_events().await {
        Ok(mut stream) => {
            while let Some(Ok(message)) = stream.next().await {
                if let EventMessage::Happened { event, .. } = message {
                    told.push_str(&serde_json::to_string(&event).unwrap_or_default());
                    told.push('\n');
                }
            }
            bundle.text("events.jsonl", &told)
        }
        Err(error) => {
            bundle.missed("events.jsonl", &error);
            Ok(())
        }
    }
}

/// The generations of each group. What they changed is left out: the specs say it too, and there a value still
/// stands below the name that tells whether it must be hidden.
async fn specs(app: &App, status: &StatusView, bundle: &mut Bundle) -> Result<(), Failure> {
    for group in &status.groups {
        let history = app.client.get_history(&group.group_id).await.map(|mut history| {
            history.generations.iter_mut().for_each(|one| one.changes.clear());
            history
        });
        bundle.had(&format!("groups/{}.json", group.group_id), history)?;
    }
    Ok(())
}

async fn logs(app: &App, args: &BundleArgs, status: &StatusView, bundle: &mut Bundle) -> Result<(), Failure> {
    let options = LogOptions { tail: Some(args.tail), ..LogOptions::default() };
    for server in servers(status) {
        let name = format!("logs/{}/{}.log", server.group_id, server.instance_name);
        match app.client.get_logs(&server.instance_name, &options).await {
            Ok(log) => {
                let lines = log.lines.iter().map(|line| {
                    let (at, stream, text) = (&line.at, line.stream, &line.text);
                    format!("{at} {}@{} {stream} {text}\n", line.replica, line.generation)
                });
                bundle.text(&name, &lines.collect::<String>())?;
            }
            Err(error) => bundle.missed(&name, &error),
        }
    }
    Ok(())
}

/// The archive under construction. Everything in it has gone through the redactor.
struct Bundle {
    tar: tar::Builder<GzEncoder<File>>,
    redactor: Redactor,
    missing: String,
}

impl Bundle {
    fn begin(app: &App, to: &Path) -> Result<Self, Failure> {
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(to);
        let file = file.map_err(|error| {
            Failure::new(Exit::Usage, format!("{} cannot be written", to.display())).cause(error.to_string())
        })?;
        let tar = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let known = app.token.clone().into_iter().collect();
        Ok(Self { tar, redactor: Redactor::new(known), missing: String::new() })
    }

    fn had(&mut self, name: &str, answer: Result<impl Serialize, Error>) -> Result<(), Failure> {
        match answer {
            Ok(value) => self.json(name, &value),
            Err(error) => {
                self.missed(name, &error);
                Ok(())
            }
        }
    }

    fn missed(&mut self, name: &str, error: &Error) {
        self.missing.push_str(&format!("{name}: {error}\n"));
    }

    fn json(&mut self, name: &str, value: &impl Serialize) -> Result<(), Failure> {
        let value = serde_json::to_value(value).unwrap_or_default();
        let text = serde_json::to_string_pretty(&self.redactor.value(value)).unwrap_or_default();
        self.add(name, &format!("{text}\n"))
    }

    fn text(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let text = self.redactor.text(text);
        self.add(name, &text)
    }

    fn add(&mut self, name: &str, text: &str) -> Result<(), Failure> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        let added = self.tar.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes());
        Ok(added?)
    }

    fn end(mut self) -> Result<(), Failure> {
        if !self.missing.is_empty() {
            let missing = std::mem::take(&mut self.missing);
            self.text("missing.txt", &missing)?;
        }
        Ok(self.tar.into_inner()?.finish()?.sync_all()?)
    }
}
