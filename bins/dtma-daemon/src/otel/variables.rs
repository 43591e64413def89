//! What the standard's variables say, checked before anything begins: the exporter would pass over what it cannot read.

use super::{said, wanted};
use crate::settings::Mistake;
use http::{HeaderName, Uri};
use opentelemetry_sdk::trace::{
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE, OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT,
    OTEL_BSP_SCHEDULE_DELAY,
};
use std::time::Duration;

const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const TIMEOUT: Duration = Duration::from_secs(10);
/// More than anybody needs: a queue of spans takes its memory when it is made.
const MOST: usize = 1_000_000;

/// Variables that are one of few words.
const WORDS: [(&str, &[&str]); 6] = [
    ("OTEL_TRACES_EXPORTER", &["otlp"]),
    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", &["http/protobuf"]),
    ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", &["none"]),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", &["none"]),
    (
        "OTEL_TRACES_SAMPLER",
        &[
            "always_on",
            "always_off",
            "traceidratio",
            "parentbased_always_on",
            "parentbased_always_off",
            "parentbased_traceidratio",
        ],
    ),
];
const NUMBERS: [&str; 5] = [
    TIMEOUTS[0],
    TIMEOUTS[1],
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
];
const RATIO: &str = "OTEL_TRACES_SAMPLER_ARG";
/// They may hold secrets, so what they say is never repeated.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

/// What is wrong with what a variable says.
type Check = fn(&str) -> Option<String>;

/// Everything that is wrong, where spans are wanted.
pub(crate) fn mistakes() -> Vec<Mistake> {
    let Some(endpoint) = wanted() else { return Vec::new() };
    let single: [(&str, Check); 2] = [(endpoint, is_no_collector), (RATIO, is_no_ratio)];
    let numbers = NUMBERS.map(|name| (name, is_no_number as Check));
    let headers = HEADERS.map(|name| (name, are_no_headers as Check));
    let checked = single.into_iter().chain(numbers).chain(headers);
    let found = checked.filter_map(|(name, check)| Some((name, check(&said(name)?)?)));
    found.chain(wrong_words()).map(|(name, problem)| Mistake::of_variable(name, problem)).collect()
}

/// How long one delivery may take.
pub(super) fn timeout() -> Duration {
    let said = TIMEOUTS.into_iter().find_map(said).and_then(|millis| millis.parse().ok());
    said.map_or(TIMEOUT, Duration::from_millis)
}

/// How many spans may wait.
pub(super) fn queue() -> usize {
    let said = said(OTEL_BSP_MAX_QUEUE_SIZE).and_then(|number| number.parse().ok());
    said.unwrap_or(OTEL_BSP_MAX_QUEUE_SIZE_DEFAULT)
}

fn wrong_words() -> impl Iterator<Item = (&'static str, String)> {
    WORDS.into_iter().filter_map(|(name, words)| {
        let said = said(name).filter(|said| !words.contains(&said.as_str()))?;
        Some((name, format!("{said:?}: this daemon knows {}", words.join(", "))))
    })
}

fn is_no_collector(said: &str) -> Option<String> {
    let uri = said.parse::<Uri>().ok();
    let is_one =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    (!is_one).then(|| format!("{said:?} is no address of a collector, such as http://127.0.0.1:4318"))
}

fn is_no_number(said: &str) -> Option<String> {
    let is_one = said.parse().is_ok_and(|number: usize| (1..=MOST).contains(&number));
    (!is_one).then(|| format!("{said:?} is no number from 1 to {MOST}"))
}

fn is_no_ratio(said: &str) -> Option<String> {
    let is_one = said.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
    (!is_one).then(|| format!("{said:?} is no number from 0 to 1"))
}

fn are_no_headers(said: &str) -> Option<String> {
    let is_one =
        |pair: &str| pair.split_once('=').is_some_and(|(name, _)| HeaderName::try_from(name.trim()).is_ok());
    let wrong = said.split_terminator(',').position(|pair| !is_one(pair))?;
    Some(format!("header {} of it is not of the form name=value", wrong + 1))
}
