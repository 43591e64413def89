//! Sessions of clients that never come back.

use crate::house::{House, mcp, name};
use dtma_mcp::{Door, PostReply};
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn opened(door: &Door) -> String {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    match door.post(None, hello.to_string().into()).await {
        PostReply::Opened { session, .. } => session.to_string(),
        other => panic!("no session: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_when_nobody_used_it_for_a_day() {
    let house = House::new().await;
    house.deploy("g", vec![mcp("a")]).await.unwrap();
    let door = house.manager.mcp(&name("a")).unwrap();
    let (gone, used) = (opened(&door).await, opened(&door).await);
    tokio::time::sleep(23 * HOUR).await;
    assert_eq!(door.sessions(), 2);
    door.session(&used).await.unwrap();
    tokio::time::sleep(5 * HOUR).await;
    assert!(door.session(&gone).await.is_err() && door.session(&used).await.is_ok());
    let kept: Vec<String> = house.store.state().sessions.iter().map(|kept| kept.id.clone()).collect();
    assert_eq!((kept, door.expired()), (vec![used], 1));
}
