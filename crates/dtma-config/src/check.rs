//! The rules, each a function of the value it judges, so that a value is judged alike wherever a request writes it.

pub(crate) mod connect;
pub(crate) mod egress;
pub(crate) mod engine;
pub(crate) mod gateway;
pub(crate) mod group;
pub(crate) mod idle;
pub(crate) mod image;
pub(crate) mod lifecycle;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod ports;
pub(crate) mod session;
pub(crate) mod text;

use crate::place::Place;
use crate::policy::Policy;
use crate::report::Report;
use crate::wanted::Wanted;
use dtma_core::spec::{GroupSpec, ServerSpec};

/// Judges one server; `wanted` is the same server with its overrides applied.
pub(crate) fn server(
    report: &mut Report,
    at: &str,
    group: &GroupSpec,
    spec: &ServerSpec,
    (wanted, policy, place): (&Wanted, &Policy, Place),
) {
    image::image(report, &format!("{at}/image"), &spec.image);
    text::command(report, &format!("{at}/command"), spec.command.as_deref());
    text::arguments(report, &format!("{at}/args"), spec.args.as_deref().unwrap_or_default());
    text::environment(report, &format!("{at}/environment"), spec);
    text::labels(report, &format!("{at}/labels"), &spec.labels);
    limits::resources(report, &format!("{at}/resources"), &spec.resources, policy);
    lifecycle::readiness(report, &format!("{at}/health"), spec);
    lifecycle::restart(report, &format!("{at}/restart"), &spec.restart);
    lifecycle::replicas(report, at, group, spec);
    idle::idle(report, &format!("{at}/idle"), group, &wanted.spec);
    session::session(report, at, group, spec);
    lifecycle::stop_grace(report, &format!("{at}/stopGraceMs"), spec.stop_grace);
    mounts::mounts(report, &format!("{at}/mounts"), &spec.mounts, policy);
    mounts::together(report, &format!("{at}/mounts"), wanted);
    text::counts(report, at, &wanted.spec);
    ports::ports(report, at, group, &wanted.spec, (policy, place));
    engine::shim(report, at, spec, place);
    egress::egress(report, at, group, &wanted.spec, (policy, place));
    connect::connects(report, at, group, &wanted.spec, place);
    if place.remote_engine {
        engine::remote(report, at, &wanted.spec);
    }
}
