//! `template`: which there are, what one holds, what they make of a file.

use super::group;
use crate::app::App;
use crate::cli::TemplateCommand;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::file::Document;
use crate::output::table::{field, render};
use crate::output::text::{block, line};
use crate::output::{Shape, yaml};
use dtma_client::types::{TemplateSummary, TemplateView};
use std::path::Path;

/// `dtma template …`.
pub(super) async fn template(app: &App, command: &TemplateCommand) -> Result<(), Failure> {
    match command {
        TemplateCommand::Ls => ls(app).await,
        TemplateCommand::Show { name } => show(app, name).await,
        TemplateCommand::Render { file } => effective(app, file.as_deref()).await,
    }
}

async fn ls(app: &App) -> Result<(), Failure> {
    let templates = app.client.list_templates().await?.templates;
    app.output.list(&templates, |shape| match shape {
        Shape::Name => templates.iter().map(|template| format!("{}\n", line(&template.name))).collect(),
        Shape::Table | Shape::Wide => {
            let row = |template: &TemplateSummary| {
                vec![field(line(&template.name)), field(line(&template.description))]
            };
            render(&["TEMPLATE", "DESCRIPTION"], templates.iter().map(row).collect(), app.output.ink)
        }
    })
}

async fn show(app: &App, name: &str) -> Result<(), Failure> {
    let template = app.client.get_template(name).await?;
    let settings = yaml(&template.settings)?;
    app.output.list(&template, |shape| match shape {
        Shape::Name => format!("{}\n", line(&template.name)),
        Shape::Table | Shape::Wide => detail(app, &template, &settings),
    })
}

fn detail(app: &App, template: &TemplateView, settings: &str) -> String {
    let inherits =
        template.inherits.as_deref().map(|base| format!(", inherits {}", line(base))).unwrap_or_default();
    let name = app.output.ink.bold(&line(&template.name));
    let indented: String = block(settings).lines().map(|line| format!("  {line}\n")).collect();
    format!("{name}{inherits}\n  {}\n\n{indented}", line(&template.description))
}

/// Validates a file and prints what each container would be made from.
async fn effective(app: &App, file: Option<&Path>) -> Result<(), Failure> {
    let document = Document::load(file)?;
    let answer = app.client.validate_group(&document.value).await;
    let answer = answer.map_err(|error| Failure::from(error).located(|pointer| document.place(pointer)))?;
    let verdict = group::verdict(app, &document, &answer, Shape::Table);
    if !answer.valid {
        app.output.remark(verdict.trim_end());
        return Err(Failure::Said(Exit::Invalid));
    }
    if !answer.warnings.is_empty() {
        app.output.remark(verdict.trim_end());
    }
    let text = yaml(&answer.effective)?;
    app.output.list(&answer.effective, |shape| match shape {
        Shape::Name => answer.effective.keys().map(|name| format!("{}\n", line(name))).collect(),
        Shape::Table | Shape::Wide => text,
    })
}
