//! Agents that open, call and vanish wherever they are just then: in the handshake, in a call, in a stream, in the
//! middle of a request. What is there afterwards is what was there before.

use super::{Address, Call, Client, Dice, Door, echoing, setting};
use dtma_tests::engine::{container_ids, docker, inspect, remains};
use dtma_tests::{Toolbox, eventually};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const AGENTS: usize = 10;
/// Sessions that one server keeps of clients that did not end them; beyond, the one unused for longest makes way.
const KEPT: u64 = 1024;
/// What the daemon may grow by, whatever the time: its allocator keeps some of what it had at its busiest.
const DAEMON: u64 = 16 << 20;
const SHIM: u64 = 1 << 20;
const SETTLED: Duration = Duration::from_secs(60);

/// A server whose sessions outlive connections, and one that is reached by doors where they do not.
const SERVERS: [&str; 2] = ["lasting", "passing"];

#[tokio::test(flavor = "multi_thread")]
async fn agents_that_open_call_and_vanish_leave_nothing() {
    let seconds = setting("DTMA_TEST_CHURN", 60);
    let toolbox = Toolbox::start();
    toolbox.deploy(&toolbox.group("churn", &SERVERS.map(echoing))).await;
    warm_up(&toolbox).await;
    let before = settled(&toolbox, None).await;
    let until = Instant::now() + Duration::from_secs(seconds as u64);
    let rounds = agents(&toolbox, until).await;
    let after = settled(&toolbox, Some(&before)).await;
    assert_eq!((&after.things, &after.processes), (&before.things, &before.processes));
    assert!(after.memory <= before.memory + DAEMON, "the daemon: {before:?} {after:?}");
    for (then, now) in before.shims.iter().zip(&after.shims) {
        assert!(now.1 <= then.1 + SHIM, "a shim: {before:?} {after:?}");
    }
    let grown = after.memory.saturating_sub(before.memory) >> 10;
    println!("figure: {rounds} visits in {seconds} s by {AGENTS} agents that vanish, 0 orphans;");
    println!(
        "figure: {} descriptors and {} tasks before, {} and {} after;",
        before.descriptors, before.tasks, after.descriptors, after.tasks
    );
    println!("figure: daemon {} KiB before, {grown} KiB more after", before.memory >> 10);
}

/// Until as many sessions are kept as ever will be, and everything has happened once.
async fn warm_up(toolbox: &Toolbox) {
    let mut opening = JoinSet::new();
    for _ in 0..AGENTS {
        let address = Address::of(toolbox, SERVERS[0]);
        opening.spawn(async move {
            for _ in 0..=KEPT / AGENTS as u64 {
                Client::open(&address, Door::Http("2025-11-25")).await.expect("a session");
            }
        });
    }
    opening.join_all().await;
    agents(toolbox, Instant::now() + Duration::from_secs(5)).await;
}

/// How often they came.
async fn agents(toolbox: &Toolbox, until: Instant) -> usize {
    let mut agents = JoinSet::new();
    for number in 0..AGENTS {
        let addresses = SERVERS.map(|server| Address::of(toolbox, server));
        agents.spawn(agent(addresses, number, until));
    }
    let mut rounds = 0;
    while let Some(visited) = agents.join_next().await {
        rounds += visited.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    }
    rounds
}

async fn agent(addresses: [Address; 2], number: usize, until: Instant) -> usize {
    let (mut dice, mut rounds) = (Dice::new(number), 0);
    while Instant::now() < until {
        let way = dice.below(12);
        let visited = visit(&addresses, way, &mut dice).await;
        visited.unwrap_or_else(|wrong| panic!("visit {rounds} of agent {number}, in way {way}: {wrong}"));
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(dice.below(200) as u64)).await;
    }
    rounds
}

/// One visit; how it ends is drawn.
async fn visit([lasting, passing]: &[Address; 2], way: usize, dice: &mut Dice) -> Result<(), String> {
    let now = Call { id: 1, say: "x/1 now".into(), delay: 0, steps: 0 };
    let later = Call { id: 2, say: "x/2 later".into(), delay: 3000, steps: 2 };
    let moment = Duration::from_millis(dice.below(40) as u64);
    match way {
        0 => Client::open(lasting, Door::Http("2025-11-25")).await?.burst(&[now]).await.map(drop),
        1 => in_the_middle(lasting, Door::Http("2025-06-18"), &later, moment).await,
        2 => {
            let client = Client::open(lasting, Door::Http("2025-11-25")).await?;
            let listener = client.listen().await?;
            drop((client, listener));
            Ok(())
        }
        3 => {
            let mut client = Client::open(lasting, Door::Http("2025-03-26")).await?;
            client.burst(&[now]).await?;
            client.close().await
        }
        4 => Client::open(passing, Door::Socket).await?.burst(&[now]).await.map(drop),
        5 => in_the_middle(passing, Door::Socket, &later, moment).await,
        6 => Client::open(passing, Door::Pair).await?.burst(&[now]).await.map(drop),
        7 => in_the_middle(passing, Door::Pair, &later, moment).await,
        8 => in_the_middle(passing, Door::Stateless, &later, moment).await,
        9 => Client::open(passing, Door::Stateless).await?.subscribe().await.map(drop),
        // In the handshake.
        10 => {
            let door = [Door::Pair, Door::Socket, Door::Http("2025-11-25")][dice.below(3)];
            let address = if matches!(door, Door::Http(_)) { lasting } else { passing };
            tokio::time::timeout(moment / 8, Client::open(address, door))
                .await
                .map_or(Ok(()), |opened| opened.map(drop))
        }
        _ => torn(passing, dice).await,
    }
}

/// Leaves while a call is in flight, which nobody waits for any more.
async fn in_the_middle(address: &Address, door: Door, call: &Call, moment: Duration) -> Result<(), String> {
    let mut client = Client::open(address, door).await?;
    match tokio::time::timeout(moment, client.burst(std::slice::from_ref(call))).await {
        Ok(answered) => Err(format!("answered at once: {answered:?}")),
        Err(_) => Ok(()),
    }
}

/// Leaves in the middle of a request.
async fn torn(address: &Address, dice: &mut Dice) -> Result<(), String> {
    let whole = format!(
        "POST /gateway/servers/{}/mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nAccept: */*\r\nContent-Length: 100\r\n\r\n{{\"jsonrpc\":\"2.0\",\"id\":1",
        address.instance, address.host, address.token
    );
    let cut = 1 + dice.below(whole.len() - 1);
    let mut stream = TcpStream::connect(&address.host).await.map_err(|error| error.to_string())?;
    stream.write_all(&whole.as_bytes()[..cut]).await.map_err(|error| error.to_string())
}

/// What is there of a daemon and its servers.
#[derive(Debug)]
struct Counts {
    things: Vec<String>,
    processes: usize,
    descriptors: usize,
    tasks: u64,
    memory: u64,
    /// Descriptors and memory.
    shims: Vec<(usize, u64)>,
}

/// The counts when nobody is there any more: no stream, no session that ends with one, and no more descriptors (also of
/// shims) and tasks than before.
async fn settled(toolbox: &Toolbox, before: Option<&Counts>) -> Counts {
    eventually("nothing is left", SETTLED, async || {
        let metrics = toolbox.get("/metrics").await.text;
        let value = |name: &str| {
            let found = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            found.unwrap_or_default()
        };
        let streams =
            value(r#"dtma_gateway_streams{door="Sse"}"#) + value(r#"dtma_gateway_streams{door="WebSocket"}"#);
        let passing = value(r#"dtma_gateway_sessions{instance="passing"}"#);
        let lasting = value(r#"dtma_gateway_sessions{instance="lasting"}"#);
        let counts = counts(toolbox, value("dtma_tasks "));
        let more = before.is_some_and(|before| counts.exceeds(before));
        if streams + passing > 0 || lasting > KEPT || more {
            return Err((streams, passing, lasting, counts));
        }
        Ok(counts)
    })
    .await
}

impl Counts {
    fn exceeds(&self, before: &Self) -> bool {
        let shim = |(now, then): (&(usize, u64), &(usize, u64))| now.0 > then.0;
        self.descriptors > before.descriptors
            || self.tasks > before.tasks
            || self.shims.iter().zip(&before.shims).any(shim)
    }
}

fn counts(toolbox: &Toolbox, tasks: u64) -> Counts {
    let group = toolbox.named("churn");
    let containers = container_ids(&group);
    let first = |id: &str| u32::try_from(inspect(id)["State"]["Pid"].as_u64().unwrap_or(0)).unwrap_or(0);
    let processes = containers.iter().map(|(_, id)| docker(&["top", id]).lines().count() - 1).sum();
    Counts {
        things: remains(&group, true),
        processes,
        descriptors: descriptors(toolbox.pid()),
        tasks,
        memory: memory(toolbox.pid()),
        shims: containers.iter().map(|(_, id)| (descriptors(first(id)), memory(first(id)))).collect(),
    }
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("its descriptors").count()
}

/// Resident, in bytes.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
