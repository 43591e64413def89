//! The start queue on machines that keep up and that do not.

use super::*;
use crate::pressure::Stalled;

/// A machine on which this part of the time work waits for a processor, and this one for memory.
fn machine(cpu: f64, memory: f64) -> Gauge {
    let booted = Instant::now();
    Arc::new(move || {
        let up = booted.elapsed();
        Some(Stalled { cpu: up.mul_f64(cpu), memory: up.mul_f64(memory) })
    })
}

fn image(name: &str) -> ImageId {
    name.into()
}

/// How many get a turn of this many that ask again every [`LOOK`], a few times, and never answer.
async fn admitted(starts: &Starts, asking: usize, times: usize) -> Vec<Turn> {
    let wake = Arc::new(Notify::new());
    let mut line: Vec<Place> = (0..asking).map(|_| starts.line_up(Rank::Needed, &wake)).collect();
    let mut turns = Vec::new();
    for _ in 0..times {
        let mut on = Vec::new();
        for place in line {
            match place.ask(&image("i")) {
                Some(turn) => turns.push(turn),
                None => on.push(place),
            }
        }
        line = on;
        tokio::time::advance(LOOK).await;
    }
    turns
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_keeps_up_gives_more_turns_at_each_look() {
    for (times, expected) in [(1, 4), (2, 8), (3, 16), (20, MOST)] {
        let starts = Starts::new(4, machine(0.2, 0.0));
        assert_eq!(admitted(&starts, 200, times).await.len(), expected, "{times}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_keep_up_gives_the_least() {
    for (cpu, memory) in [(0.9, 0.0), (0.1, 0.3)] {
        let starts = Starts::new(4, machine(cpu, memory));
        assert_eq!(admitted(&starts, 100, 20).await.len(), 4, "{cpu} {memory}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_whose_kernel_does_not_say_gives_the_least() {
    let starts = Starts::new(4, Arc::new(|| None));
    assert_eq!(admitted(&starts, 100, 20).await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_was_measured_long_ago_says_nothing_of_now() {
    let starts = Starts::new(2, machine(0.0, 0.0));
    drop(admitted(&starts, 10, 1).await);
    tokio::time::advance(STALE * 2).await;
    assert_eq!(admitted(&starts, 10, 1).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_came_first_is_first_and_who_is_silent_is_passed_over() {
    let starts = Starts::new(1, machine(1.0, 0.0));
    let wake = Arc::new(Notify::new());
    let (first, second) = (starts.line_up(Rank::Needed, &wake), starts.line_up(Rank::Needed, &wake));
    assert!(second.ask(&image("i")).is_none());
    let turn = first.ask(&image("i")).unwrap();
    drop(first);
    assert!(second.ask(&image("i")).is_none(), "the only turn is taken");
    let silent = starts.line_up(Rank::Needed, &wake);
    let third = starts.line_up(Rank::Needed, &wake);
    drop((turn, second));
    assert!(third.ask(&image("i")).is_none());
    tokio::time::advance(SILENT).await;
    assert!(third.ask(&image("i")).is_some());
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn who_waits_hears_when_a_turn_is_given_back() {
    let starts = Starts::new(1, machine(1.0, 0.0));
    let (mine, theirs) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let place = starts.line_up(Rank::Needed, &mine);
    let turn = place.ask(&image("i")).unwrap();
    drop(place);
    let waiting = starts.line_up(Rank::Needed, &theirs);
    assert_eq!(starts.count(), (1, 1));
    drop(turn);
    theirs.notified().await;
    assert!(waiting.ask(&image("i")).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_turn_lasts_as_long_as_starts_of_the_image_usually_take() {
    let starts = Starts::new(1, machine(1.0, 0.0));
    let wake = Arc::new(Notify::new());
    let lasts = |name: &str| {
        let turn = starts.line_up(Rank::Needed, &wake).ask(&image(name)).unwrap();
        turn.over() - Instant::now()
    };
    assert_eq!(lasts("new"), UNKNOWN);
    for (took, expected) in [(1, SHORTEST), (2_000, Duration::from_secs(6)), (60_000, LONGEST)] {
        let turn = starts.line_up(Rank::Needed, &wake).ask(&image("known")).unwrap();
        tokio::time::advance(Duration::from_millis(took)).await;
        turn.came_up();
        assert_eq!(lasts("known"), expected, "after {took} ms");
    }
    assert_eq!(starts.count(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_made_for_somebody_who_is_still_to_come_waits_for_everybody_else() {
    let (starts, wake) = (Starts::new(1, Arc::new(|| None)), Arc::new(Notify::new()));
    let (spare, needed) = (starts.line_up(Rank::Spare, &wake), starts.line_up(Rank::Needed, &wake));
    assert!(spare.ask(&image("i")).is_none(), "it came first");
    let turn = needed.ask(&image("i"));
    drop(needed);
    assert!(turn.is_some() && spare.ask(&image("i")).is_none());
    drop(turn);
    assert!(spare.ask(&image("i")).is_some());
}
