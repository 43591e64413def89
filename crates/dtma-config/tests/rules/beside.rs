//! What depends on the engine: whether it is beside the daemon, and whether a shim can be there.

use crate::case::{set_publish, set_target};
use crate::support::{MIB, configurator, pair, places};
use dtma_config::{Configurator, rule};
use dtma_core::spec::{Mount, MountSource, NetworkMode};

#[test]
fn what_needs_the_engine_beside_the_daemon_is_refused_on_another_machine() {
    let mut spec = pair();
    let tool = &mut spec.servers[1];
    tool.port = Some(80);
    set_publish(tool, vec![(8080, 80), (8081, 81)]);
    set_target(tool, "/data");
    tool.mounts.push(Mount {
        target: "/t".to_owned(),
        source: MountSource::Tmpfs { size: MIB },
        read_only: false,
    });
    assert_eq!(places(&configurator().validate(&spec)), []);
    let found = configurator().for_remote_engine().validate(&spec);
    let expected = ["publish/0", "publish/1", "port", "mounts/0"].map(|at| format!("/servers/1/{at}"));
    let expected: Vec<_> = expected.iter().map(|at| (at.as_str(), rule::ENGINE_REMOTE)).collect();
    assert_eq!(places(&found), expected);
    assert!(found.iter().all(|violation| violation.hint.is_some()), "{found:#?}");
    assert_eq!(configurator().for_remote_engine().validate(&pair()), []);
}

#[test]
fn a_shim_is_refused_where_it_cannot_be_and_only_to_those_who_insist() {
    let asking = |shim, platform: Option<&str>| {
        let mut spec = pair();
        spec.servers[1].shim = shim;
        spec.servers[1].platform = platform.map(|platform| platform.parse().unwrap());
        spec
    };
    let check = |configurator: &Configurator, platform, refusal: Option<&str>| {
        let refused: Vec<_> = refusal.iter().map(|rule| ("/servers/1/shim", *rule)).collect();
        let found = configurator.validate(&asking(Some(true), platform));
        assert_eq!(places(&found), refused);
        assert!(found.iter().all(|violation| violation.hint.is_some()), "{found:#?}");
        for shim in [Some(false), None] {
            assert_eq!(configurator.validate(&asking(shim, platform)), []);
        }
    };
    check(&configurator(), None, Some(rule::SHIM_NONE));
    let with = configurator().with_shim(true);
    check(&with, None, None);
    check(&with, Some("linux/s390x"), Some(rule::SHIM_PLATFORM));
    check(&with.clone().for_remote_engine(), None, Some(rule::ENGINE_REMOTE));
    check(&configurator().for_remote_engine(), Some("linux/s390x"), Some(rule::ENGINE_REMOTE));
}

/// The daemon needs no address where the shim opens the door.
#[test]
fn a_port_needs_a_network_or_a_shim() {
    let mut spec = pair();
    let tool = &mut spec.servers[1];
    (tool.network, tool.port) = (Some(NetworkMode::None), Some(80));
    set_publish(tool, vec![(8080, 80)]);
    let at = ["/servers/1/port", "/servers/1/publish/0"].map(|at| (at, rule::PORT_NETWORK));
    assert_eq!(places(&configurator().validate(&spec)), at);
    let with = configurator().with_shim(true);
    assert_eq!(with.validate(&spec), []);
    spec.servers[1].shim = Some(false);
    assert_eq!(places(&with.validate(&spec)), at);
}
