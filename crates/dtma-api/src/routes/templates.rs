//! Configuration templates.

use crate::answer::{Answer, ok};
use crate::app::App;
use crate::error::ApiError;
use axum::extract::{Path, State};
use dtma_api_types::{Envelope, TemplateList, TemplateSummary, TemplateView};

/// List templates
#[utoipa::path(get, path = "/mcp/templates", operation_id = "listTemplates", tag = "templates",
    responses((status = 200, description = "Every template", body = Envelope<TemplateList>)))]
pub(crate) async fn list_templates(State(app): State<App>) -> Answer {
    let templates = app.manager().configurator().templates().list();
    let summary = |template: &dtma_config::Template| TemplateSummary {
        name: template.name.clone(),
        description: template.description.clone(),
    };
    let templates: Vec<TemplateSummary> = templates.map(summary).collect();
    ok(format!("{} template(s)", templates.len()), TemplateList { templates })
}

/// Look at a template
///
/// With everything it inherits.
#[utoipa::path(get, path = "/mcp/templates/{name}", operation_id = "getTemplate", tag = "templates",
    params(("name" = String, Path, description = "The template")),
    responses((status = 200, description = "The template", body = Envelope<TemplateView>)))]
pub(crate) async fn get_template(State(app): State<App>, Path(name): Path<String>) -> Answer {
    let template = app.manager().configurator().templates().get(&name).ok_or(ApiError::NoTemplate(name))?;
    let settings = serde_json::to_value(&template.values)
        .map_err(|problem| ApiError::Internal(format!("a template could not be written: {problem}")))?;
    let (name, description) = (template.name.clone(), template.description.clone());
    ok(
        format!("template {name}"),
        TemplateView { name, description, inherits: template.inherits.clone(), settings },
    )
}
