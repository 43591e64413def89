//! `audit`: who changed what, or was turned away.

use crate::app::App;
use crate::cli::AuditArgs;
use crate::failure::Failure;
use crate::output::audit;
use dtma_client::AuditQuery;

/// `dtma audit`.
pub(super) async fn audit(app: &App, args: AuditArgs) -> Result<(), Failure> {
    let AuditArgs { egress, calls, group, instance, actor, action, outcome, since, until, limit, cursor } =
        args;
    let which = AuditQuery { since, until, actor, action, group, instance, outcome, limit, cursor };
    let found = match (egress, calls) {
        (true, _) => app.client.list_egress(&which).await?,
        (false, true) => app.client.list_calls(&which).await?,
        (false, false) => app.client.list_audit(&which).await?,
    };
    let show = match (egress, calls) {
        (true, _) => audit::egress,
        (false, true) => audit::calls,
        (false, false) => audit::list,
    };
    app.output.list(&found, |shape| show(&found.entries, shape, app.output.ink))?;
    if app.output.is_human() {
        if found.entries.is_empty() {
            app.output.remark("no such entry is kept");
        }
        if let left @ 1.. = audit::left_out(&found.entries) {
            app.output.remark(&format!("{left} more have no line of their own"));
        }
        if let Some(next) = found.next {
            app.output.remark(&format!("there are older ones: --cursor {next}"));
        }
    }
    Ok(())
}
