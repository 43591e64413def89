//! Pulls from a registry on the loopback.

use crate::harness::Harness;
use crate::registry::Registry;
use bollard::query_parameters::RemoveImageOptions;
use dtma_core::container::RunAs;
use dtma_core::id::ImageRef;
use dtma_core::port::runtime::{ContainerRuntime, PullProgress, RuntimeError};
use dtma_core::spec::PullPolicy;
use dtma_docker::{Deadlines, DockerRuntime, Settings};
use futures_util::future::join_all;
use std::sync::Mutex;
use std::time::Duration;

const SIZE: usize = 4_000_000;

async fn forget(harness: &Harness, image: &ImageRef) {
    harness
        .docker()
        .remove_image(image.as_str(), None::<RemoveImageOptions>, None)
        .await
        .expect("docker image rm");
}

#[tokio::test]
async fn a_pull_tells_its_progress_and_records_the_digest() {
    let (harness, registry) =
        (Harness::new().await, Registry::with_layer_of(SIZE, Duration::from_millis(500)).await);
    let image = ImageRef::from(format!("{}:1", registry.repository()));
    let heard = Mutex::new(Vec::new());
    let progress = |progress: PullProgress| heard.lock().expect("the record").push(progress);
    let facts =
        harness.engine().ensure_image(&image, PullPolicy::Missing, None, &progress).await.expect("a pull");
    assert_eq!(facts.digest, Some(format!("{}@{}", registry.repository(), registry.digest)));
    assert_eq!(facts.volumes, ["/a", "/b"]);
    assert_eq!(facts.run_as(), RunAs { uid: 1000, gid: 1001 });
    {
        let heard = heard.lock().expect("the record");
        let last = heard.last().expect("progress is told");
        assert!(heard.iter().all(|now| now.image == image && now.received <= now.total), "{heard:?}");
        assert!(heard.iter().any(|now| now.received > 0 && now.received < now.total), "{heard:?}");
        assert_eq!(last.received, last.total);
        assert!(last.total > 4_000_000, "{last:?}");
    }
    let by_digest = ImageRef::from(facts.digest.clone().expect("a digest"));
    let again = harness.engine().ensure_image(&by_digest, PullPolicy::Missing, None, &|_| {}).await;
    assert_eq!(again.map(|again| again.id), Ok(facts.id));
    forget(&harness, &image).await;
    harness.leave().await;
}

#[tokio::test]
async fn many_who_want_one_image_share_one_pull() {
    let (harness, registry) =
        (Harness::new().await, Registry::with_layer_of(SIZE, Duration::from_millis(300)).await);
    let image = ImageRef::from(format!("{}:1", registry.repository()));
    let told = Mutex::new(0);
    let progress = |_| *told.lock().expect("the count") += 1;
    let ask = || harness.engine().ensure_image(&image, PullPolicy::Always, None, &progress);
    let answers = join_all((0..10).map(|_| ask())).await;
    assert!(answers.windows(2).all(|pair| pair[0].is_ok() && pair[0] == pair[1]), "{answers:?}");
    // Several connections of one pull may ask for one manifest; ten pulls would be tens.
    assert!(registry.asked("/manifests/") <= 3, "{} manifests", registry.asked("/manifests/"));
    assert!(*told.lock().expect("the count") >= 10, "everybody who waits hears of it");
    harness.engine().ensure_image(&image, PullPolicy::Never, None, &|_| {}).await.expect("it is there");
    forget(&harness, &image).await;
    harness.leave().await;
}

#[tokio::test]
async fn a_tag_that_the_registry_does_not_have_is_named() {
    let (harness, registry) = (Harness::new().await, Registry::with_layer_of(10, Duration::ZERO).await);
    let image = ImageRef::from(format!("{}:absent", registry.repository()));
    let answer = harness.engine().ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await;
    assert!(
        matches!(&answer, Err(RuntimeError::ImageMissing { image: named, .. }) if *named == image),
        "{answer:?}"
    );
    harness.leave().await;
}

/// Its registry has it for one platform, as such registries are; the engine's answer is not taken for the wanted one.
#[tokio::test]
async fn an_image_is_pulled_for_the_wanted_platform_or_not_used() {
    let (harness, registry) = (Harness::new().await, Registry::with_layer_of(10, Duration::ZERO).await);
    let image = ImageRef::from(format!("{}:1", registry.repository()));
    let ensure = async |platform: &str, policy| {
        let platform = platform.parse().expect("a platform");
        harness.engine().ensure_image(&image, policy, Some(&platform), &|_| {}).await
    };
    let facts = ensure("linux/amd64", PullPolicy::Missing).await.expect("a pull");
    assert_eq!(ensure("linux/amd64", PullPolicy::Never).await, Ok(facts));
    for policy in [PullPolicy::Never, PullPolicy::Missing, PullPolicy::Always] {
        let answer = ensure("linux/s390x", policy).await;
        let Err(RuntimeError::ImageMissing { image: named, problem }) = answer else { panic!("{answer:?}") };
        assert_eq!(named, image);
        assert!(problem.contains("linux/s390x") || problem.contains("platform"), "{problem}");
    }
    forget(&harness, &image).await;
    harness.leave().await;
}

#[tokio::test]
async fn nothing_is_pulled_onto_a_disk_that_is_nearly_full() {
    let (harness, registry) = (Harness::new().await, Registry::with_layer_of(10, Duration::ZERO).await);
    let image = ImageRef::from(format!("{}:1", registry.repository()));
    let settings = Settings {
        host: Some(harness.host()),
        pull_min_free: u64::MAX,
        ..Settings::new(harness.owner_id().clone())
    };
    let careful = DockerRuntime::connect(settings).expect("connect");
    let answer = careful.ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await;
    let Err(RuntimeError::OutOfSpace { problem }) = &answer else { panic!("{answer:?}") };
    assert!(problem.contains(" MiB free, and nothing is pulled below "), "{problem}");
    assert_eq!(registry.asked("/"), 0, "the registry was asked all the same");
    harness.leave().await;
}

#[tokio::test]
async fn a_pull_that_stalls_is_given_up() {
    let (harness, registry) =
        (Harness::new().await, Registry::with_layer_of(SIZE, Duration::from_secs(60)).await);
    let image = ImageRef::from(format!("{}:1", registry.repository()));
    let deadlines = Deadlines { pull_stall: Duration::from_secs(1), ..Deadlines::default() };
    let host = Some(harness.host());
    let settings = Settings { host, deadlines, ..Settings::new(harness.owner_id().clone()) };
    let impatient = DockerRuntime::connect(settings).expect("connect");
    let answer = impatient.ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await;
    let after = Duration::from_secs(1);
    assert_eq!(answer, Err(RuntimeError::PullStalled { image, after }));
    harness.leave().await;
}
