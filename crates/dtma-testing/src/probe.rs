//! A [`HealthProbe`] whose every answer is scripted.

use async_trait::async_trait;
use dtma_core::port::probe::{HealthProbe, ProbeTarget};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

#[derive(Debug, Clone)]
enum Answer {
    Accept,
    Refuse(String),
    Silence,
}

#[derive(Debug)]
struct Script {
    of_address: HashMap<SocketAddr, Answer>,
    otherwise: Answer,
    probed: Vec<ProbeTarget>,
}

/// Answers as its remote control says; refuses until told otherwise.
#[derive(Debug)]
pub struct FakeProbe {
    script: Arc<Mutex<Script>>,
}

/// Scripts a [`FakeProbe`].
#[derive(Debug, Clone)]
pub struct FakeProbeRemote {
    script: Arc<Mutex<Script>>,
}

impl FakeProbe {
    /// A probe that is refused everywhere, and its remote control.
    #[must_use]
    pub fn new() -> (Self, FakeProbeRemote) {
        let otherwise = Answer::Refuse("connection refused".to_owned());
        let script = Script { of_address: HashMap::new(), otherwise, probed: Vec::new() };
        let script = Arc::new(Mutex::new(script));
        (Self { script: Arc::clone(&script) }, FakeProbeRemote { script })
    }

    fn next(&self, target: ProbeTarget) -> Answer {
        let ProbeTarget::Tcp(address) = target;
        let mut script = lock(&self.script);
        script.probed.push(target);
        script.of_address.get(&address).unwrap_or(&script.otherwise).clone()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().expect("no test panics while it holds the script")
}

impl FakeProbeRemote {
    /// From now on this address accepts.
    pub fn accept(&self, address: SocketAddr) {
        lock(&self.script).of_address.insert(address, Answer::Accept);
    }
    /// From now on this address refuses, in these words.
    pub fn refuse(&self, address: SocketAddr, problem: &str) {
        lock(&self.script).of_address.insert(address, Answer::Refuse(problem.to_owned()));
    }
    /// From now on this address neither accepts nor refuses.
    pub fn silence(&self, address: SocketAddr) {
        lock(&self.script).of_address.insert(address, Answer::Silence);
    }
    /// Every address that has no answer of its own accepts.
    pub fn accept_all(&self) {
        lock(&self.script).otherwise = Answer::Accept;
    }
    /// Every address that has no answer of its own refuses, in these words.
    pub fn refuse_all(&self, problem: &str) {
        lock(&self.script).otherwise = Answer::Refuse(problem.to_owned());
    }
    /// What was probed so far, in order.
    #[must_use]
    pub fn probed(&self) -> Vec<ProbeTarget> {
        lock(&self.script).probed.clone()
    }
}

#[async_trait]
impl HealthProbe for FakeProbe {
    async fn probe(&self, target: ProbeTarget, timeout: Duration) -> Result<(), String> {
        match self.next(target) {
            Answer::Accept => Ok(()),
            Answer::Refuse(problem) => Err(problem),
            Answer::Silence => {
                tokio::time::sleep(timeout).await;
                Err(format!("no answer within {timeout:?}"))
            }
        }
    }
}
