//! What is known of what MCP servers offer, and what follows when their tools are not those that were approved.

use crate::house::{House, SOON, mcp, name, spec, tool};
use dtma_core::contract::{FIRST, Pinning};
use dtma_core::id::Generation;
use dtma_core::record::Removal;
use dtma_core::spec::ServerSpec;
use dtma_manager::{Approval, Discovered, EventKind, Expect, ManagerError};
use dtma_mcp::CallError;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn pinned(pinning: Pinning) -> ServerSpec {
    ServerSpec { pinning, ..mcp("a") }
}

fn echo(description: &str) -> Value {
    json!({"name": "echo", "description": description})
}

impl House {
    fn known(&self) -> Arc<Discovered> {
        self.manager.discovered(&name("a")).unwrap()
    }

    async fn until_known(&self, wanted: impl Fn(&Discovered) -> bool) -> Arc<Discovered> {
        for _ in 0..1000 {
            let known = self.known();
            if wanted(&known) {
                return known;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came to this: {:?}", self.known());
    }

    async fn deploy_known(&self, server: ServerSpec) -> Arc<Discovered> {
        self.deploy("g", vec![server]).await.unwrap();
        self.until_known(|known| !known.stale).await
    }

    async fn call(&self, tool: &str) -> Result<Value, CallError> {
        let door = self.manager.mcp(&name("a")).unwrap();
        let params = json!({"name": tool, "arguments": {"message": "hi"}}).to_string();
        let answer = door.call("tools/call", Some(params.as_bytes()), Duration::from_secs(5)).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn approve(&self, tool: Option<&str>) -> Result<Arc<Discovered>, ManagerError> {
        let approval = Approval { tool: tool.map(str::to_owned), hash: None };
        self.manager.approve(&name("a"), &approval, "ann").await
    }
}

fn told(known: &Discovered) -> Vec<String> {
    known.drift.iter().flat_map(dtma_core::contract::Drift::lines).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_server_offered_is_told_at_once_by_the_next_daemon() {
    let mut house = House::new().await;
    let known = house.deploy_known(mcp("a")).await;
    let catalogue = known.catalogue.clone().unwrap();
    assert!(catalogue.offers.greeting.contains("fake-mcp-server"));
    assert_eq!((catalogue.offers.tools.raw.len(), catalogue.generation), (1, Generation(1)));
    assert_eq!(catalogue.image, house.server("g", "a").image_id);
    assert_eq!(known.contract.as_ref().unwrap().author, FIRST);
    house.stop_daemon().await;
    house.mcp.silence("ping");
    house.start_daemon().await;
    let before = house.known();
    assert!(before.stale && before.catalogue.as_ref() == Some(&catalogue), "{before:?}");
    house.mcp.behave();
    let after = house.until_known(|known| !known.stale).await;
    assert_eq!(after.contract, known.contract);
    assert!(after.revision > before.revision);
    assert_eq!(house.store.state().contracts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stands_still_is_told_of_by_what_it_offered_last() {
    let house = House::new().await;
    let known = house.deploy_known(mcp("a")).await;
    house.manager.stop(&name("a"), SOON).await.unwrap();
    let stopped = house.until_known(|known| known.stale).await;
    assert_eq!(stopped.catalogue, known.catalogue);
    house.manager.start(&name("a"), SOON).await.unwrap();
    house.until_known(|known| !known.stale).await;
    house.remove("g", Removal::default()).await;
    assert!(house.manager.discovered(&name("a")).is_none());
    let kept = house.store.state();
    assert_eq!((kept.catalogues, kept.contracts), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn tools_that_change_are_a_warning_and_an_event_until_they_are_approved() {
    let house = House::new().await;
    house.deploy_known(mcp("a")).await;
    let mut events = house.manager.events();
    house.mcp.offer(&[echo("Sends the message to me"), json!({"name": "extra"})]);
    let known = house.until_known(|known| known.drift.len() == 2).await;
    let wanted = [
        r#"~ tool "echo" is another"#,
        r#"    /description: "Says the message back" -> "Sends the message to me""#,
        "    /inputSchema: gone, was ",
        r#"+ tool "extra" is new"#,
    ];
    let lines = told(&known);
    assert!(
        lines.len() == 4 && lines.iter().zip(wanted).all(|(line, wanted)| line.starts_with(wanted)),
        "{lines:?}"
    );
    loop {
        if let EventKind::Contract { differs, lines: told } = events.recv().await.unwrap().kind {
            assert_eq!((differs, told), (2, lines));
            break;
        }
    }
    let warning = r#"tools are not as approved: "echo" changed, "extra" added"#;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.server("g", "a").contract.as_deref(), Some(warning));
    assert!(house.call("echo").await.is_ok(), "warned of, and called all the same");
    let seen = house.until_known(|known| known.catalogue.as_ref().unwrap().offers.tools.raw.len() == 2).await;
    let other = Approval { hash: Some("another".into()), tool: None };
    let refused = house.manager.approve(&name("a"), &other, "ann").await;
    assert!(matches!(refused, Err(ManagerError::OfferChanged(_))), "{refused:?}");
    let seen = Approval { hash: seen.offered_hash(), tool: None };
    let approved = house.manager.approve(&name("a"), &seen, "ann").await.unwrap();
    assert_eq!((approved.drift.len(), approved.contract.as_ref().unwrap().author.as_str()), (0, "ann"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.server("g", "a").contract, None);
    assert_eq!(house.store.state().contracts, [(**approved.contract.as_ref().unwrap()).clone()]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_as_approved_is_kept_in_quarantine_over_restarts() {
    let mut house = House::new().await;
    house.deploy_known(pinned(Pinning::Quarantine)).await;
    assert!(house.call("echo").await.is_ok());
    house.mcp.offer(&[echo("another")]);
    house.until_known(|known| !known.drift.is_empty()).await;
    let refused = house.call("echo").await.unwrap_err();
    assert!(matches!(refused, CallError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains("dtma mcp approve a"), "{refused}");
    house.restart_daemon().await;
    house.until("g", "a", "ready").await;
    assert!(matches!(house.call("echo").await, Err(CallError::Refused { .. })));
    let unknown = house.approve(Some("nothing")).await;
    assert!(matches!(unknown, Err(ManagerError::NoSuchTool { .. })), "{unknown:?}");
    house.approve(Some("echo")).await.unwrap();
    assert!(house.call("echo").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_list_its_tools_does_not_get_around_the_quarantine() {
    let house = House::new().await;
    house.deploy_known(pinned(Pinning::Quarantine)).await;
    house.mcp.silence("tools/list");
    house.manager.restart(&name("a"), SOON).await.unwrap();
    let refused = house.call("echo").await.unwrap_err().to_string();
    assert!(refused.contains("does not list it"), "{refused}");
    house.mcp.behave();
    house.until_known(|known| !known.stale).await;
    assert!(house.call("echo").await.is_ok(), "it was asked again, and is as approved");
}

#[tokio::test(start_paused = true)]
async fn an_update_whose_tools_differ_says_so_when_it_stands() {
    let house = House::new().await;
    let generation = |version: &str| {
        let mut server = mcp("a");
        server.environment.insert("VERSION".into(), version.into());
        vec![server]
    };
    house.deploy("g", generation("1")).await.unwrap();
    house.until_known(|known| !known.stale).await;
    house.mcp.offer(&[json!({"name": "other"})]);
    let applied = house.manager.apply(spec("g", generation("2")), Expect::default(), SOON).await.unwrap();
    let server = applied.deployed.status.server(&name("a")).unwrap();
    let warning = r#"tools are not as approved: "echo" removed, "other" added"#;
    assert_eq!(server.contract.as_deref(), Some(warning));
}

#[tokio::test(start_paused = true)]
async fn what_another_configuration_offered_is_foreseen() {
    let house = House::new().await;
    let versioned = |version: &str| {
        let mut server = mcp("a");
        server.environment.insert("VERSION".into(), version.into());
        spec("g", vec![server])
    };
    let apply =
        async |version| house.manager.apply(versioned(version), Expect::default(), SOON).await.unwrap();
    apply("1").await;
    house.until_known(|known| !known.stale).await;
    apply("2").await;
    let second = |known: &Discovered| known.catalogue.as_ref().unwrap().generation == Generation(2);
    house.until_known(second).await;
    house.mcp.offer(&[json!({"name": "other"})]);
    let changed =
        |known: &Discovered| known.catalogue.as_ref().unwrap().offers.tools.raw[0].contains("other");
    house.until_known(changed).await;
    house.approve(None).await.unwrap();
    let preview = house.manager.preview(&versioned("1"), Expect::default()).unwrap();
    let warning = preview.foreseen.iter().find(|warning| warning.rule == "contract.drift").unwrap();
    assert_eq!(warning.pointer, "/servers/0");
    assert!(warning.message.ends_with(r#""echo" added, "other" removed"#), "{}", warning.message);
}

#[tokio::test(start_paused = true)]
async fn pinning_is_switched_on_and_off_without_replacing_anything() {
    let house = House::new().await;
    let known = house.deploy_known(pinned(Pinning::Off)).await;
    assert_eq!((known.contract.clone(), house.server("g", "a").contract), (None, None));
    let container = house.server("g", "a").container;
    let switch = async |pinning| {
        let spec = spec("g", vec![pinned(pinning)]);
        house.manager.apply(spec, Expect::default(), SOON).await.unwrap();
    };
    switch(Pinning::Quarantine).await;
    let known = house.until_known(|known| known.pinning == Pinning::Quarantine).await;
    assert_eq!(known.contract.as_ref().unwrap().tools.len(), 1);
    house.mcp.offer(&[]);
    house.until_known(|known| known.drift.len() == 1).await;
    house.mcp.offer(&[json!({"name": "echo"})]);
    house.until_known(|known| told(known).len() > 1).await;
    assert!(house.call("echo").await.is_err());
    switch(Pinning::Off).await;
    let known = house.until_known(|known| known.pinning == Pinning::Off).await;
    assert!(known.drift.is_empty() && house.call("echo").await.is_ok());
    assert_eq!(house.server("g", "a").container, container);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_of_tools_and_of_servers_that_never_answered() {
    let house = House::new().await;
    house.mcp.silence("initialize");
    let spec = spec("g", vec![mcp("a"), tool("b")]);
    house.manager.apply(spec, Expect::default(), dtma_manager::Wait::No).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(house.manager.discovered(&name("b")).is_none());
    let known = house.known();
    assert!(known.stale && known.catalogue.is_none() && known.contract.is_none());
    assert!(matches!(house.approve(None).await, Err(ManagerError::NotDiscovered(_))));
    let nobody = house.manager.approve(&name("b"), &Approval::default(), "ann").await;
    assert!(matches!(nobody, Err(ManagerError::NoSuchServer(_))));
}
