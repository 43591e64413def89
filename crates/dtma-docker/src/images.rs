//! Images: what is there, what must be pulled, and how far that is.

use crate::connect::Link;
use crate::errors::{Op, path_segment};
use crate::ledger::Ledger;
use crate::registry::{self, RegistryLogins};
use crate::{shelf, space};
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::{CreateImageOptions, CreateImageOptionsBuilder};
use dtma_core::container::ImageFacts;
use dtma_core::id::ImageRef;
use dtma_core::platform::Platform;
use dtma_core::port::runtime::{OnProgress, PullProgress, RuntimeError};
use dtma_core::spec::PullPolicy;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::timeout;

const CALL: &str = "pull image";

/// An image, and for which platform; `None`: the engine's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Wanted {
    pub(crate) image: ImageRef,
    pub(crate) platform: Option<Platform>,
}

pub(crate) async fn ensure(
    link: &Arc<Link>,
    pulls: &Pulls,
    wanted: &Wanted,
    policy: PullPolicy,
    progress: OnProgress<'_>,
) -> Result<ImageFacts, RuntimeError> {
    let pull = async || {
        // What was there already is somebody else's; so is all where it cannot be said.
        let before = shelf::ids(link).await.ok();
        pulls.join(link, wanted, progress).await?;
        let facts = facts(link, wanted).await?;
        let fresh = before.is_some_and(|before| !before.contains(&facts.id));
        pulls.ledger.note(&facts.id, &wanted.image, fresh).await;
        Ok(facts)
    };
    match policy {
        PullPolicy::Always => pull().await,
        PullPolicy::Never => facts(link, wanted).await,
        PullPolicy::Missing => match facts(link, wanted).await {
            Err(RuntimeError::ImageMissing { .. }) => pull().await,
            found => found,
        },
    }
}

async fn facts(link: &Link, wanted: &Wanted) -> Result<ImageFacts, RuntimeError> {
    let image = &wanted.image;
    let op = Op::new("inspect image", "image", image.as_str());
    let name = path_segment(op)?;
    let found = link.read(op, |docker| async move { docker.inspect_image(name).await }).await;
    let raw = found.map_err(|error| match error {
        RuntimeError::NotFound { .. } => {
            missing(image, "the engine does not have it: load it there, or let it be pulled")
        }
        other => other,
    })?;
    check_platform(wanted, &raw)?;
    facts_of(image, raw).ok_or_else(|| RuntimeError::Broken {
        call: op.call,
        problem: format!("the engine says nothing of the id of {image}"),
    })
}

/// A registry may give another one than was asked for: that of an image that is made for one platform only.
fn check_platform(wanted: &Wanted, raw: &ImageInspect) -> Result<(), RuntimeError> {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let (os, architecture, variant) = (part(&raw.os), part(&raw.architecture), part(&raw.variant));
    match &wanted.platform {
        Some(platform) if !platform.takes(&os, &architecture, &variant) => {
            let problem = format!("it is for {os}/{architecture}, and {platform} is wanted");
            Err(missing(&wanted.image, &problem))
        }
        Some(_) | None => Ok(()),
    }
}

fn missing(image: &ImageRef, problem: &str) -> RuntimeError {
    RuntimeError::ImageMissing { image: image.clone(), problem: problem.to_owned() }
}

fn facts_of(image: &ImageRef, raw: ImageInspect) -> Option<ImageFacts> {
    let platform = platform_of(&raw);
    let config = raw.config.unwrap_or_default();
    let mut volumes = config.volumes.unwrap_or_default();
    volumes.sort_unstable();
    let user = config.user.filter(|user| !user.is_empty());
    let digest = digest_of(image, &raw.repo_digests.unwrap_or_default());
    let (entrypoint, command) = (config.entrypoint.unwrap_or_default(), config.cmd.unwrap_or_default());
    Some(ImageFacts { id: raw.id?.into(), digest, user, volumes, entrypoint, command, platform })
}

fn platform_of(raw: &ImageInspect) -> Option<Platform> {
    let variant = raw.variant.as_deref().filter(|variant| !variant.is_empty());
    let parts = [raw.os.as_deref()?, raw.architecture.as_deref()?].into_iter().chain(variant);
    parts.collect::<Vec<_>>().join("/").parse().ok()
}

/// One image can have come from several repositories: ours is meant.
fn digest_of(image: &ImageRef, digests: &[String]) -> Option<String> {
    let name = repository(image.as_str());
    let ours = |digest: &&String| digest.split_once('@').is_some_and(|(of, _)| of == name);
    digests.iter().find(ours).or(digests.first()).cloned()
}

/// The reference without tag and digest.
pub(crate) fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => name,
    }
}

type Pull = Shared<BoxFuture<'static, Result<(), RuntimeError>>>;

/// Pulls under way: whoever wants an image that is being pulled joins. A pull ends with its last waiter.
#[derive(Debug)]
pub(crate) struct Pulls {
    logins: RegistryLogins,
    min_free: u64,
    ledger: Arc<Ledger>,
    running: Mutex<HashMap<Wanted, (WeakPull, watch::Receiver<PullProgress>)>>,
}

type WeakPull = WeakShared<BoxFuture<'static, Result<(), RuntimeError>>>;

impl Pulls {
    pub(crate) fn new(logins: RegistryLogins, min_free: u64, ledger: Arc<Ledger>) -> Self {
        Self { logins, min_free, ledger, running: Mutex::default() }
    }

    async fn join(
        &self,
        link: &Arc<Link>,
        wanted: &Wanted,
        progress: OnProgress<'_>,
    ) -> Result<(), RuntimeError> {
        let (mut pull, mut news) = self.pull_of(link, wanted);
        loop {
            // Dropping `changed` loses no news; the pull is polled to its end by somebody.
            tokio::select! {
                biased;
                Ok(()) = news.changed() => {
                    let now = news.borrow_and_update().clone();
                    progress(now);
                }
                done = &mut pull => return done,
            }
        }
    }

    fn pull_of(&self, link: &Arc<Link>, wanted: &Wanted) -> (Pull, watch::Receiver<PullProgress>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended or abandoned ones are nobody's any more.
        running.retain(|_, (pull, _)| pull.upgrade().is_some_and(|pull| pull.peek().is_none()));
        if let Some((pull, news)) = running.get(wanted)
            && let Some(pull) = pull.upgrade()
        {
            return (pull, news.clone());
        }
        let nothing = PullProgress { image: wanted.image.clone(), received: 0, total: 0 };
        let (tell, news) = watch::channel(nothing);
        let login = self.logins.of(&wanted.image);
        let (link, of_it, min_free) = (Arc::clone(link), wanted.clone(), self.min_free);
        let pull = async move {
            space::check(&link, Op::new(CALL, "image", of_it.image.as_str()), min_free).await?;
            pull(link, of_it, login, tell).await
        };
        let pull = pull.boxed().shared();
        if let Some(weak) = pull.downgrade() {
            running.insert(wanted.clone(), (weak, news.clone()));
        }
        (pull, news)
    }
}

async fn pull(
    link: Arc<Link>,
    wanted: Wanted,
    login: Option<DockerCredentials>,
    tell: watch::Sender<PullProgress>,
) -> Result<(), RuntimeError> {
    let image = wanted.image.clone();
    let op = Op::new(CALL, "image", image.as_str());
    path_segment(op)?;
    let docker = link.client(op).await?;
    let known = login.is_some();
    let mut steps = docker.create_image(Some(options(&wanted)?), None, login).boxed();
    let (after, mut layers) = (link.deadlines.pull_stall, Layers::default());
    loop {
        let step = timeout(after, steps.next()).await;
        match step.map_err(|_| RuntimeError::PullStalled { image: image.clone(), after })? {
            None => return Ok(()),
            Some(Err(error)) => return Err(not_pulled(&link, &image, known, error)),
            Some(Ok(step)) => {
                layers.note(step);
                let (received, total) = layers.sum();
                tell.send_replace(PullProgress { image: image.clone(), received, total });
            }
        }
    }
}

/// The engine says 404 of an image that a registry hides from strangers, too: its text tells more than that.
fn not_pulled(link: &Link, image: &ImageRef, known: bool, error: Error) -> RuntimeError {
    match error {
        Error::DockerResponseServerError { status_code: 404, message } => {
            missing(image, &with_remedy(image, known, message))
        }
        other => unavailable(image, known, link.classify(Op::new(CALL, "image", image.as_str()), other)),
    }
}

/// What a registry says comes as errors of many kinds: to the caller all of them mean that the image is not there.
fn unavailable(image: &ImageRef, known: bool, error: RuntimeError) -> RuntimeError {
    match error {
        RuntimeError::NotFound { .. } => missing(image, "its registry does not have it"),
        RuntimeError::Refused { problem, .. }
        | RuntimeError::Broken { problem, .. }
        | RuntimeError::Conflict { problem, .. }
        | RuntimeError::ImageMissing { problem, .. } => missing(image, &with_remedy(image, known, problem)),
        RuntimeError::EngineAway { .. }
        | RuntimeError::Timeout { .. }
        | RuntimeError::PortClosed { .. }
        | RuntimeError::PullStalled { .. }
        | RuntimeError::OutOfSpace { .. }
        | RuntimeError::NameTaken { .. }
        | RuntimeError::PortTaken { .. } => error,
    }
}

/// What a person can do about what the registry said.
fn with_remedy(image: &ImageRef, known: bool, problem: String) -> String {
    let (said, host) = (problem.to_lowercase(), registry::host(image.as_str()));
    let says = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    if says(&[
        "unauthorized",
        "no basic auth credentials",
        "access denied",
        "authentication required",
        "docker login",
    ]) {
        return if known {
            format!(
                "{problem}; {host} does not accept the credentials that the registry-auth file has for it"
            )
        } else {
            format!(
                "{problem}; if {host} is private, give the daemon credentials for it (--registry-auth FILE)"
            )
        };
    }
    if says(&["manifest unknown", "manifest for", "name unknown", "repository name not known"]) {
        return format!("{problem}; check the name and the tag: {host} does not have it");
    }
    problem
}

/// Without a tag the engine would pull every tag there is.
fn options(wanted: &Wanted) -> Result<CreateImageOptions, RuntimeError> {
    let reference = wanted.image.as_str();
    if reference.starts_with("sha256:") {
        return Err(missing(&reference.into(), "an image id cannot be pulled"));
    }
    let platform = wanted.platform.as_ref().map(ToString::to_string).unwrap_or_default();
    let options = CreateImageOptionsBuilder::default().from_image(reference).platform(&platform);
    let complete = reference.contains('@') || repository(reference) != reference;
    Ok(if complete { options.build() } else { options.tag("latest").build() })
}

/// Bytes by layer; the engine tells of each on its own.
#[derive(Default)]
struct Layers(BTreeMap<String, (u64, u64)>);

impl Layers {
    fn note(&mut self, step: CreateImageInfo) {
        let (Some(id), Some(status)) = (step.id, step.status) else { return };
        let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        match status.as_str() {
            "Downloading" => {
                let detail = step.progress_detail.unwrap_or_default();
                let received = bytes(detail.current).unwrap_or_default();
                let total = bytes(detail.total).unwrap_or(received).max(received);
                self.0.insert(id, (received, total));
            }
            "Download complete" | "Pull complete" => {
                if let Some((received, total)) = self.0.get_mut(&id) {
                    *received = *total;
                }
            }
            _ => {}
        }
    }

    fn sum(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |(received, total), layer| (received + layer.0, total + layer.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tag_and_digest_are_not_part_of_the_repository() {
        for (reference, name) in [
            ("busybox", "busybox"),
            ("busybox:1", "busybox"),
            ("localhost:5000/a/b", "localhost:5000/a/b"),
            ("localhost:5000/a/b:1", "localhost:5000/a/b"),
            ("localhost:5000/a/b:1@sha256:00", "localhost:5000/a/b"),
        ] {
            assert_eq!(repository(reference), name, "{reference}");
        }
    }

    #[test]
    fn never_all_tags_are_pulled() {
        let wanted = |reference: &str| Wanted { image: reference.into(), platform: None };
        let tag = |reference: &str| options(&wanted(reference)).unwrap().tag;
        assert_eq!(tag("localhost:5000/a").as_deref(), Some("latest"));
        assert_eq!(tag("a:1"), None);
        assert_eq!(tag("a@sha256:00"), None);
        assert!(options(&wanted("sha256:00ff")).is_err());
    }

    #[test]
    fn the_digest_of_the_wanted_repository_is_recorded() {
        let digests = ["other@sha256:1".to_owned(), "localhost:5000/a@sha256:2".to_owned()];
        assert_eq!(
            digest_of(&"localhost:5000/a:1".into(), &digests).as_deref(),
            Some("localhost:5000/a@sha256:2")
        );
        assert_eq!(digest_of(&"elsewhere".into(), &digests).as_deref(), Some("other@sha256:1"));
        assert_eq!(digest_of(&"elsewhere".into(), &[]), None);
    }

    #[test]
    fn an_image_says_what_it_runs_and_for_what_it_is_made() {
        let inspect =
            |image: serde_json::Value| facts_of(&"a".into(), serde_json::from_value(image).unwrap()).unwrap();
        let facts = inspect(json!({
            "Id": "sha256:00", "Os": "linux", "Architecture": "arm64", "Variant": "v8",
            "Config": { "Entrypoint": ["node"], "Cmd": ["index.js"], "User": "1000", "Volumes": { "/b": {}, "/a": {} } },
        }));
        assert_eq!((facts.entrypoint, facts.command), (vec!["node".into()], vec!["index.js".into()]));
        assert_eq!(facts.platform, "linux/arm64/v8".parse().ok());
        let bare =
            inspect(json!({ "Id": "sha256:00", "Os": "linux", "Architecture": "amd64", "Variant": "" }));
        assert_eq!((bare.entrypoint, bare.command), (vec![], vec![]));
        assert_eq!(bare.platform, "linux/amd64".parse().ok());
        assert_eq!(inspect(json!({ "Id": "sha256:00", "Os": "linux" })).platform, None);
    }

    #[test]
    fn progress_is_summed_over_layers() {
        let mut layers = Layers::default();
        let mut note = |id: &str, status: &str, current: i64, total: i64| {
            let step = json!({ "id": id, "status": status, "progressDetail": { "current": current, "total": total } });
            layers.note(serde_json::from_value(step).unwrap());
            layers.sum()
        };
        assert_eq!(note("a", "Downloading", 10, 100), (10, 100));
        assert_eq!(note("b", "Downloading", 5, 50), (15, 150));
        assert_eq!(note("a", "Download complete", 0, 0), (105, 150));
        assert_eq!(note("a", "Extracting", 1, 100), (105, 150));
        assert_eq!(note("c", "Already exists", 0, 0), (105, 150));
    }
}
