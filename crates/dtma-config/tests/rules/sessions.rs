//! Cases of sessions with processes of their own.

use crate::case::{Case, case, depend, set_publish, set_replicas};
use crate::support::{configurator, pair, places};
use dtma_config::rule;
use dtma_core::spec::{GroupSpec, SessionMode, SessionSpec};
use std::time::Duration;

/// `time` and how its clients share it.
fn asking(session: SessionSpec) -> impl Fn(&mut GroupSpec) {
    move |group| group.servers[0].session = session
}

/// The same, put to rest when nobody uses it.
fn resting(session: SessionSpec) -> impl Fn(&mut GroupSpec) {
    move |group| {
        asking(session)(group);
        group.servers[0].idle.pause_after = Some(Duration::from_secs(60));
    }
}

fn own() -> SessionSpec {
    SessionSpec { mode: SessionMode::PerSession, ..SessionSpec::default() }
}

/// The same without replicas, where the second server awaits it.
fn awaited(replicas: u32) -> impl Fn(&mut GroupSpec) {
    move |group| {
        asking(own())(group);
        set_replicas(&mut group.servers[0], replicas);
        group.servers[1].depends_on = depend(&["time"]);
    }
}

pub(crate) fn session_cases() -> Vec<Case> {
    let most = |max| SessionSpec { max: Some(max), ..own() };
    let idle = |seconds| SessionSpec { idle_timeout: Some(Duration::from_secs(seconds)), ..own() };
    let spares = |max, spares| SessionSpec { max, spares: Some(spares), ..own() };
    vec![
        case(
            rule::SESSION_SPARES,
            "/servers/0/session/spares",
            asking(spares(None, 17)),
            asking(spares(None, 16)),
        ),
        case(
            rule::SESSION_SPARES,
            "/servers/0/session/spares",
            asking(spares(Some(1), 2)),
            asking(spares(Some(1), 1)),
        ),
        case(
            rule::SESSION_SHARED,
            "/servers/0/session/spares",
            asking(SessionSpec { spares: Some(1), ..SessionSpec::default() }),
            asking(spares(None, 1)),
        ),
        case(
            rule::SESSION_KIND,
            "/servers/1/session",
            |group| group.servers[1].session = own(),
            asking(own()),
        ),
        case(
            rule::SESSION_SHARED,
            "/servers/0/session/max",
            asking(SessionSpec { max: Some(1), ..SessionSpec::default() }),
            asking(most(1)),
        ),
        case(rule::SESSION_IDLE, "/servers/0/idle", resting(own()), resting(SessionSpec::default())),
        case(rule::SESSION_RANGE, "/servers/0/session/max", asking(most(257)), asking(most(256))),
        case(rule::DURATION_RANGE, "/servers/0/session/idleTimeoutSecs", asking(idle(0)), asking(idle(1))),
        case(rule::SESSION_ONLY, "/servers/1/dependsOn/0/instance", awaited(0), awaited(1)),
    ]
}

#[test]
fn only_a_server_of_sessions_may_be_without_replicas() {
    let refused = |session: SessionSpec| {
        let mut spec = pair();
        asking(session)(&mut spec);
        set_replicas(&mut spec.servers[0], 0);
        places(&configurator().validate(&spec)).len()
    };
    assert_eq!((refused(SessionSpec::default()), refused(own())), (1, 0));
}

#[test]
fn a_port_that_leads_to_no_replica_is_refused() {
    let mut spec = pair();
    asking(own())(&mut spec);
    let server = &mut spec.servers[0];
    set_replicas(server, 0);
    set_publish(server, vec![(8080, 80)]);
    let found = configurator().validate(&spec);
    assert!(places(&found).contains(&("/servers/0/publish/0", rule::SESSION_ONLY)), "{found:#?}");
}
