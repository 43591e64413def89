//! `scale`: other numbers of replicas, one server after the other.

use super::group::stands;
use crate::app::App;
use crate::cli::{ScaleArgs, WaitArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::text::line;
use crate::output::{Shape, server};
use crate::progress::board::{Outcome, Scope};
use crate::progress::{Subject, watch};
use dtma_client::ChangeOptions;
use dtma_client::types::{ApplyView, ScaleRequest, ServerView};

/// `dtma scale`. What was done before one fails stays done, and is shown.
pub(super) async fn scale(app: &App, args: ScaleArgs) -> Result<(), Failure> {
    let wanted = wanted(&args)?;
    let (mut done, mut failed) = (Vec::new(), None);
    for (name, replicas) in &wanted {
        match one(app, name, *replicas, args.wait).await {
            Ok(view) => done.push(view),
            Err(failure) => {
                failed = Some(failure);
                break;
            }
        }
    }
    if !done.is_empty() {
        app.output.result(&done, |shape| standing(app, &wanted, &done, args.wait, shape))?;
    }
    failed.map_or(Ok(()), Err)
}

/// Each server with its number. One that is named twice, or has no number, is a mistake.
fn wanted(args: &ScaleArgs) -> Result<Vec<(String, u32)>, Failure> {
    let mut wanted: Vec<(String, u32)> = Vec::new();
    for (name, own) in &args.servers {
        let Some(replicas) = own.or(args.replicas) else {
            let failure = Failure::new(Exit::Usage, format!("how many replicas is {name} to have?"));
            return Err(failure.hint(format!("dtma scale {name}=3, or dtma scale {name} --replicas 3")));
        };
        if wanted.iter().any(|(known, _)| known == name) {
            return Err(Failure::new(Exit::Usage, format!("{name} is named twice")));
        }
        wanted.push((name.clone(), replicas));
    }
    Ok(wanted)
}

async fn one(app: &App, name: &str, replicas: u32, wait: WaitArgs) -> Result<ApplyView, Failure> {
    let subject = Subject {
        scope: Scope::Servers([name.to_owned()].into()),
        servers: vec![name.to_owned()],
        waits: !wait.no_wait,
    };
    let options = ChangeOptions { wait: wait.wait(), seen: None };
    let request = ScaleRequest { replicas };
    let work = app.client.scale_server(name, &request, &options);
    watch(app, subject, work, |done| match stands(wait, &done.group) {
        Outcome::Stands(servers) => {
            Outcome::Stands(servers.into_iter().filter(|server| server.instance_name == name).collect())
        }
        other @ (Outcome::Gone | Outcome::Open) => other,
    })
    .await
}

fn standing(app: &App, wanted: &[(String, u32)], done: &[ApplyView], wait: WaitArgs, shape: Shape) -> String {
    if wait.no_wait && shape != Shape::Name {
        let accepted =
            |(name, replicas): &(String, u32)| format!("{}: scale to {replicas} accepted\n", line(name));
        return wanted.iter().take(done.len()).map(accepted).collect();
    }
    let named = |server: &&ServerView| wanted.iter().any(|(name, _)| *name == server.instance_name);
    // Of two in one group the later answer knows how both stand.
    let mut servers: Vec<&ServerView> = Vec::new();
    for server in done.iter().rev().flat_map(|view| &view.group.servers).filter(named) {
        if !servers.iter().any(|known| known.instance_name == server.instance_name) {
            servers.push(server);
        }
    }
    server::list(&servers, shape, app.clock.now(), app.output.ink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn read(text: &str) -> Result<Vec<(String, u32)>, Option<Exit>> {
        let Command::Scale(args) = Cli::parse_from(text.split_whitespace()).command else {
            panic!("another command")
        };
        wanted(&args).map_err(|failure| failure.exit())
    }

    #[test]
    fn each_server_has_its_number() {
        let pairs = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        assert_eq!(read("dtma scale web=3 b=2"), Ok(pairs(&[("web", 3), ("b", 2)])));
        assert_eq!(read("dtma scale web b=2 -n 4"), Ok(pairs(&[("web", 4), ("b", 2)])));
        assert_eq!(read("dtma scale web b=2"), Err(Some(Exit::Usage)));
        assert_eq!(read("dtma scale web=1 web=2"), Err(Some(Exit::Usage)));
    }
}
