//! Spans of agents' calls for OpenTelemetry, where the daemon was built with the feature `otel`: whether somebody wants
//! them, and what a daemon without the feature says then.

#[cfg(feature = "otel")]
mod collector;
#[cfg(feature = "otel")]
mod counted;
#[cfg(feature = "otel")]
mod export;
#[cfg(feature = "otel")]
mod spans;
#[cfg(feature = "otel")]
mod variables;

#[cfg(feature = "otel")]
pub(crate) use export::Export;
#[cfg(feature = "otel")]
pub(crate) use variables::mistakes;

#[cfg(not(feature = "otel"))]
use crate::settings::Mistake;

/// Where spans go, by the standard's names.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The variable that says where spans go; `None`: nobody wants any.
fn wanted() -> Option<&'static str> {
    let off = [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")];
    let is_off =
        off.iter().any(|(name, word)| said(name).is_some_and(|said| said.eq_ignore_ascii_case(word)));
    ENDPOINTS.into_iter().find(|name| !is_off && said(name).is_some())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the standard names these variables, and the exporter itself reads them from here, too"
)]
fn said(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|said| said.trim().to_owned()).filter(|said| !said.is_empty())
}

/// Nothing is wrong with what is not used.
#[cfg(not(feature = "otel"))]
pub(crate) fn mistakes() -> Vec<Mistake> {
    Vec::new()
}

/// There is none in this daemon.
#[cfg(not(feature = "otel"))]
pub(crate) enum Export {}

#[cfg(not(feature = "otel"))]
impl Export {
    /// Says so where somebody wants one.
    #[expect(clippy::unnecessary_wraps, reason = "with the feature it can fail")]
    pub(crate) fn begin() -> anyhow::Result<Option<Self>> {
        if let Some(variable) = wanted() {
            eprintln!(
                "{variable} is set, and this daemon was built without OpenTelemetry: no span goes anywhere (cargo build -p \
                 dtma-daemon --features otel builds one that sends them)"
            );
        }
        Ok(None)
    }

    pub(crate) fn sink(&self) -> Box<dyn dtma_api::CallSink> {
        match *self {}
    }

    pub(crate) fn finish(self, _: std::time::Duration) {
        match self {}
    }
}
