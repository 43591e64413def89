//! One allowed request on its way: whatever happens to it, its end is told exactly once.

use crate::limits::Limits;
use crate::metered::Traffic;
use crate::port::{Ended, How, Sink};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Dropped, it says that it was abandoned, unless it was ended before.
pub(crate) struct Trip {
    number: u64,
    target: String,
    address: Option<SocketAddr>,
    traffic: Arc<Traffic>,
    how: How,
    sink: Arc<dyn Sink>,
}

impl Trip {
    pub(crate) fn new(number: u64, target: String, sink: Arc<dyn Sink>) -> Self {
        Self { number, target, address: None, traffic: Arc::default(), how: How::Abandoned, sink }
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    pub(crate) fn arrived(&mut self, address: SocketAddr) {
        self.address = Some(address);
    }

    pub(crate) fn end(mut self, how: How) {
        self.how = how;
    }

    /// Does `work` as long as it is neither silent nor going on for too long, and tells the end.
    pub(crate) async fn accompany(self, limits: &Limits, work: impl Future<Output = Result<(), String>>) {
        let how = tokio::select! {
            // Dropping the work is what ends it; the others only wait.
            result = work => result.map_or_else(How::Broken, |()| How::Closed),
            () = silence(&self.traffic, limits.idle) => How::Idle,
            () = tokio::time::sleep(limits.total) => How::TooLong,
        };
        self.end(how);
    }
}

impl Drop for Trip {
    fn drop(&mut self) {
        let how = std::mem::replace(&mut self.how, How::Abandoned);
        self.sink.ended(&Ended {
            trip: self.number,
            target: self.target.clone(),
            address: self.address,
            sent: self.traffic.sent(),
            received: self.traffic.received(),
            how,
        });
    }
}

/// Returns once no byte has passed for `idle`.
async fn silence(traffic: &Traffic, idle: Duration) {
    let counts = || (traffic.sent(), traffic.received());
    loop {
        let before = counts();
        tokio::time::sleep(idle).await;
        if counts() == before {
            return;
        }
    }
}
