//! A tunnel: bytes both ways, each way ended for itself.

use crate::egress::Departure;
use crate::limits::Limits;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

/// Copies until both ways have ended, once the client has been told that it may.
pub(crate) async fn tunnel(upgrade: OnUpgrade, departure: Departure, limits: Limits) {
    let Departure { mut upstream, trip, .. } = departure;
    let copied = async {
        let client = upgrade.await.map_err(|error| error.to_string())?;
        let both = copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await;
        both.map(drop).map_err(|error| error.to_string())
    };
    trip.accompany(&limits, copied).await;
}
