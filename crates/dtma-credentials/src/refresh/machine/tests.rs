//! The decision by cases and by properties: single flight, order of tokens, and that nothing makes it spin.

use super::Strategy;
use super::*;
use crate::refresh::record::StoredAccess;
use proptest::prelude::{Just, prop_assert, prop_oneof, proptest};
use proptest::strategy::Strategy as _;
use secrecy::ExposeSecret;

/// A machine with clocks, and the answers it gets.
struct Scene {
    machine: Machine,
    now: Moment,
}

impl Scene {
    fn new(strategy: Strategy) -> Self {
        let now = Moment { running: Duration::ZERO, wall: Timestamp::from_second(1_800_000_000).unwrap() };
        Self { machine: Machine::new(strategy, now), now }
    }

    /// With a token of an hour that was just obtained, and the refresh tokens of the record.
    fn held(strategy: Strategy, refresh: &str, previous: Option<&str>) -> Self {
        let mut scene = Self::new(strategy);
        assert!(matches!(scene.tick(0), Some(Action::Load)));
        let record = scene.record(refresh, previous);
        assert!(scene.done(Outcome::Loaded(Ok(record))).is_none());
        scene
    }

    fn record(&self, refresh: &str, previous: Option<&str>) -> Record {
        let access = StoredAccess {
            token: "a0".into(),
            obtained: self.now.wall,
            lifetime: Some(Duration::from_secs(3600)),
        };
        Record { refresh: Some(refresh.into()), previous: previous.map(Into::into), access: Some(access) }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.running += Duration::from_secs(seconds);
        self.suspend(seconds);
    }

    /// Only the wall clock goes on.
    fn suspend(&mut self, seconds: u64) {
        self.now.wall += Duration::from_secs(seconds);
    }

    fn step(&mut self, input: Input) -> Option<Action> {
        self.machine.step(self.now, input, 0.5)
    }

    fn tick(&mut self, seconds: u64) -> Option<Action> {
        self.pass(seconds);
        self.step(Input::Tick)
    }

    fn done(&mut self, outcome: Outcome) -> Option<Action> {
        self.step(Input::Done(outcome))
    }

    fn fail(&mut self, kind: FailureKind) -> Option<Action> {
        self.done(Outcome::Asked(Err(Failure::new(kind, "no"))))
    }

    fn succeed(&mut self, refresh: Option<&str>) -> Option<Action> {
        let tokens =
            Tokens { access: "a".into(), refresh: refresh.map(Into::into), expires_in: Some(3600.0) };
        self.done(Outcome::Asked(Ok(tokens)))
    }

    /// When the next attempt is made, in seconds, if nothing happens before.
    fn wait(&self) -> Option<u64> {
        self.machine.wait().map(|wait| wait.as_secs())
    }

    fn token(&self) -> Option<u64> {
        match self.machine.answer(0) {
            Answer::Token(access) => Some(access.generation),
            Answer::Wait | Answer::Not(_) => None,
        }
    }
}

/// The refresh token that is tried.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "tests look at what they made up")]
fn tried(action: Option<Action>) -> String {
    match action {
        Some(Action::Ask(Proof::RefreshToken(token))) => token.expose_secret().to_owned(),
        other => panic!("no refresh, but {other:?}"),
    }
}

#[test]
fn each_strategy_has_its_time() {
    // Two thirds of an hour are 2400 s; less 15 % are 2040.
    assert_eq!(Scene::held(Strategy::OnExpiry, "r1", None).wait(), Some(2040));
    assert_eq!(Scene::held(Strategy::Periodic(Duration::from_secs(600)), "r1", None).wait(), Some(510));
    assert_eq!(Scene::held(Strategy::Periodic(Duration::from_secs(9000)), "r1", None).wait(), Some(2040));
    assert_eq!(Scene::held(Strategy::Periodic(Duration::ZERO), "r1", None).wait(), Some(51));
    assert_eq!(Scene::held(Strategy::OnDemand, "r1", None).wait(), None);
}

#[test]
fn on_demand_a_token_is_renewed_when_it_is_spent_and_somebody_asks() {
    let mut scene = Scene::held(Strategy::OnDemand, "r1", None);
    scene.pass(3580);
    assert!(scene.step(Input::Wanted).is_none());
    assert_eq!(scene.token(), Some(1));
    assert!(scene.tick(15).is_none(), "spent, but nobody asks");
    assert_eq!(tried(scene.step(Input::Wanted)), "r1");
}

#[test]
fn one_refresh_is_under_way_whoever_asks() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    assert_eq!(tried(scene.tick(2041)), "r1");
    assert_eq!(scene.token(), Some(1), "the old token serves meanwhile");
    for input in [Input::Wanted, Input::Forced, Input::Rejected(1), Input::Tick] {
        assert!(scene.step(input).is_none());
    }
    assert!(matches!(scene.machine.answer(1), Answer::Wait));
    assert!(matches!(scene.succeed(None), Some(Action::Save(_))));
    assert_eq!(scene.token(), Some(2));
    assert!(scene.done(Outcome::Saved(Ok(()))).is_none());
    assert_eq!(scene.wait(), Some(2040));
}

#[test]
fn a_rotated_token_is_used_only_once_the_vault_has_it() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    scene.tick(2041);
    assert!(matches!(scene.succeed(Some("r2")), Some(Action::Save(_))));
    let away = || Outcome::Saved(Err(Failure::new(FailureKind::Away, "down")));
    assert!(scene.done(away()).is_none());
    assert_eq!(scene.token(), Some(2), "the access token serves already");
    assert!(scene.step(Input::Forced).is_some_and(|action| matches!(action, Action::Save(_))));
    assert!(scene.done(away()).is_none());
    assert!(matches!(scene.tick(4000), Some(Action::Save(_))), "even when the token is spent");
    assert_eq!(tried(scene.done(Outcome::Saved(Ok(())))), "r2");
}

#[test]
fn after_a_lost_reply_the_old_token_is_tried_again_and_then_the_one_before_it() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r2", Some("r1"));
    assert_eq!(tried(scene.tick(2041)), "r2");
    assert!(scene.fail(FailureKind::Away).is_none());
    assert_eq!(tried(scene.tick(12)), "r2");
    assert_eq!(tried(scene.fail(FailureKind::Revoked)), "r1");
    let Some(Action::Save(record)) = scene.succeed(Some("r3")) else { panic!("it is written back") };
    assert!(super::super::record::same(record.previous.as_ref(), Some(&"r1".into())));
}

#[test]
fn a_revoked_grant_asks_the_vault_for_another_and_stops_until_somebody_connects() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    scene.tick(2041);
    assert!(matches!(scene.fail(FailureKind::Revoked), Some(Action::Load)));
    let other = scene.record("r9", None);
    assert_eq!(tried(scene.done(Outcome::Loaded(Ok(other)))), "r9");
    assert!(matches!(scene.fail(FailureKind::Revoked), Some(Action::Load)));
    let same = scene.record("r9", None);
    assert!(scene.done(Outcome::Loaded(Ok(same))).is_none());
    assert!(matches!(scene.machine.view().health, Health::AuthFailed { .. }));
    for input in [Input::Wanted, Input::Forced, Input::Rejected(1), Input::Tick] {
        scene.pass(100_000);
        assert!(scene.step(input).is_none());
        assert_eq!(scene.wait(), None);
    }
    assert!(matches!(scene.machine.answer(0), Answer::Not(Unavailable::AuthFailed { .. })));
    let fresh = scene.record("r10", None);
    assert!(matches!(scene.step(Input::Reconnected(fresh)), Some(Action::Save(_))));
    assert!(scene.token().is_some());
}

#[test]
fn somebody_who_connects_while_a_refresh_is_under_way_wins() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    scene.tick(2041);
    let fresh = scene.record("new", None);
    assert!(scene.step(Input::Reconnected(fresh)).is_none());
    assert!(matches!(scene.machine.answer(1), Answer::Wait));
    let Some(Action::Save(record)) = scene.succeed(Some("r2")) else { panic!("it is written") };
    assert!(super::super::record::same(record.refresh.as_ref(), Some(&"new".into())));
}

#[test]
fn a_401_brings_one_refresh_and_one_about_an_older_token_none() {
    let mut scene = Scene::held(Strategy::OnDemand, "r1", None);
    assert_eq!(tried(scene.step(Input::Rejected(1))), "r1");
    assert_eq!(scene.token(), None, "what upstream refuses is not handed out");
    assert!(scene.step(Input::Rejected(1)).is_none());
    scene.succeed(None);
    scene.done(Outcome::Saved(Ok(())));
    assert!(scene.step(Input::Rejected(1)).is_none());
    assert_eq!(scene.token(), Some(2));
}

#[test]
fn new_tokens_that_are_refused_as_well_are_asked_for_ever_more_rarely() {
    let mut scene = Scene::held(Strategy::OnDemand, "r1", None);
    let mut asked = 0;
    for _ in 0..3600 {
        scene.pass(1);
        let generation = scene.machine.generation;
        if let Some(Action::Ask(_)) = scene.step(Input::Rejected(generation)) {
            asked += 1;
            scene.succeed(None);
            scene.done(Outcome::Saved(Ok(())));
        }
        assert!(scene.token().is_some(), "a token that may work is better than none");
    }
    assert!((10..=20).contains(&asked), "{asked} in an hour of 401s");
}

#[test]
fn after_a_suspend_a_spent_token_is_not_handed_out() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    scene.suspend(8 * 3600);
    assert_eq!(tried(scene.step(Input::Wanted)), "r1");
    assert_eq!(scene.token(), None);
}

#[test]
fn a_clock_that_is_set_back_changes_nothing() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    scene.now.wall = Timestamp::UNIX_EPOCH;
    assert!(scene.step(Input::Tick).is_none());
    assert_eq!(scene.wait(), Some(2040));
    assert_eq!(tried(scene.tick(2041)), "r1");
}

#[test]
fn a_token_obtained_by_a_clock_ahead_of_ours_is_new_and_one_of_long_ago_is_spent() {
    for (obtained, usable) in [(4_000_000_000, true), (0, false), (-377_705_000_000, false)] {
        let mut scene = Scene::new(Strategy::OnDemand);
        scene.tick(0);
        let mut record = scene.record("r1", None);
        record.access.as_mut().unwrap().obtained = Timestamp::from_second(obtained).unwrap();
        scene.done(Outcome::Loaded(Ok(record)));
        assert_eq!(scene.token().is_some(), usable, "{obtained}");
    }
}

#[test]
fn a_provider_that_says_tokens_live_no_time_is_asked_twice_a_minute() {
    let mut scene = Scene::held(Strategy::OnExpiry, "r1", None);
    let mut asked = 0;
    for _ in 0..36_000 {
        if let Some(Action::Ask(_)) = scene.tick(1) {
            asked += 1;
            let tokens = Tokens { access: "a".into(), refresh: None, expires_in: Some(-5.0) };
            scene.done(Outcome::Asked(Ok(tokens)));
            scene.done(Outcome::Saved(Ok(())));
        }
    }
    assert!((900..=1100).contains(&asked), "{asked} in ten hours");
}

/// Anything that can happen, and how much time passes before it by either clock.
#[derive(Debug, Clone)]
struct Happening {
    running: u64,
    leap: i64,
    what: u8,
    wish: Option<u64>,
    expires_in: f64,
}

fn happening() -> impl proptest::strategy::Strategy<Value = Happening> {
    let leap = prop_oneof![8 => Just(0_i64), 1 => -1_000_000_i64..1_000_000];
    let running = prop_oneof![4 => 0_u64..2, 2 => 0_u64..40, 1 => 0_u64..4000];
    let expires = prop_oneof![Just(3600.0), Just(-1.0), Just(1e18), Just(f64::NAN), Just(0.0)];
    (running, leap, 0_u8..14, proptest::option::of(0_u64..100_000), expires).prop_map(
        |(running, leap, what, wish, expires_in)| Happening { running, leap, what, wish, expires_in },
    )
}

impl Scene {
    fn input(&self, happening: &Happening) -> Input {
        let failure = |kind| Failure {
            kind,
            retry_after: happening.wish.map(Duration::from_secs),
            said: String::new(),
        };
        let tokens = |refresh: Option<&str>| Tokens {
            access: "a".into(),
            refresh: refresh.map(Into::into),
            expires_in: Some(happening.expires_in),
        };
        match happening.what {
            0 => Input::Wanted,
            1 => Input::Forced,
            2 => Input::Rejected(self.machine.generation),
            3 => Input::Tick,
            4 => Input::Reconnected(self.record("c", None)),
            5 => Input::Done(Outcome::Loaded(Ok(self.record("v", Some("u"))))),
            6 => Input::Done(Outcome::Loaded(Err(failure(FailureKind::Away)))),
            7 => Input::Done(Outcome::Asked(Ok(tokens(Some("n"))))),
            8 => Input::Done(Outcome::Asked(Ok(tokens(None)))),
            9 => Input::Done(Outcome::Asked(Err(failure(FailureKind::Revoked)))),
            10 => Input::Done(Outcome::Asked(Err(failure(FailureKind::Refused)))),
            11 => Input::Done(Outcome::Asked(Err(failure(FailureKind::Away)))),
            12 => Input::Done(Outcome::Saved(Ok(()))),
            _ => Input::Done(Outcome::Saved(Err(failure(FailureKind::Refused)))),
        }
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(100))]

    /// Whatever is answered and whatever the clocks do: at most eight calls and one more for each 10 s, to either side;
    /// never two at a time; and no zero-long nap with nothing to do after it.
    #[test]
    fn nothing_makes_it_spin(
        happenings in proptest::collection::vec(happening(), 1..400),
        strategy in prop_oneof![
            Just(Strategy::OnExpiry), Just(Strategy::OnDemand), Just(Strategy::Periodic(Duration::ZERO))
        ],
    ) {
        let mut scene = Scene::new(strategy);
        let (mut asked, mut kept, mut under_way) = (0_u64, 0_u64, false);
        for happening in &happenings {
            scene.now.running += Duration::from_secs(happening.running);
            let wall = scene.now.wall.as_second() + happening.leap + i64::try_from(happening.running).unwrap();
            scene.now.wall = Timestamp::from_second(wall).unwrap();
            let input = scene.input(happening);
            under_way &= !matches!(input, Input::Done(_));
            let action = scene.step(input);
            prop_assert!(!(under_way && action.is_some()), "two at a time");
            under_way |= action.is_some();
            match action {
                Some(Action::Ask(_)) => asked += 1,
                Some(Action::Load | Action::Save(_)) => kept += 1,
                None => {}
            }
            prop_assert!(scene.machine.wait() != Some(Duration::ZERO), "a nap of no time");
            let most = 8 + scene.now.running.as_secs() / 10;
            prop_assert!(asked <= most && kept <= most, "{asked} and {kept} calls, {most} allowed");
        }
    }
}
