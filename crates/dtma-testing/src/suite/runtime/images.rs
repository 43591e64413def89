//! Images: there, missing, asked for by many.

use super::{Room, RuntimeHarness, Script};
use dtma_core::id::ImageRef;
use dtma_core::platform::Platform;
use dtma_core::port::runtime::RuntimeError;
use dtma_core::spec::PullPolicy;
use futures_util::future::join_all;
use std::sync::Arc;

/// And not confused with other absent things.
pub async fn a_missing_image_is_named(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let missing = ImageRef::from("localhost:1/dtma/does-not-exist:1");
    for policy in [PullPolicy::Never, PullPolicy::Missing, PullPolicy::Always] {
        let answer = room.runtime.ensure_image(&missing, policy, None, &|_| {}).await;
        assert!(
            matches!(&answer, Err(RuntimeError::ImageMissing { image, .. }) if *image == missing),
            "{policy:?}: {answer:?}"
        );
    }
    let mut request = room.request("a", Script::Idle);
    request.image.id = format!("sha256:{}", "0".repeat(64)).as_str().into();
    let answer = room.runtime.create(&request).await;
    assert!(matches!(answer, Err(RuntimeError::ImageMissing { .. })), "{answer:?}");
    room.leave().await;
}

/// No registry is asked: there is none.
pub async fn an_image_that_is_there_is_not_fetched(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let progress = |progress| panic!("nothing is to be fetched: {progress:?}");
    let facts = room.runtime.ensure_image(&harness.image(), PullPolicy::Missing, None, &progress).await;
    assert_eq!(facts.as_ref(), Ok(&room.image));
    assert!(!room.image.id.as_str().is_empty());
    room.leave().await;
}

/// Twenty servers of one image are common.
pub async fn many_ask_for_one_image_at_once(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let missing = ImageRef::from("localhost:1/dtma/does-not-exist:1");
    let ask = |image: ImageRef| {
        let runtime = Arc::clone(&room.runtime);
        async move { runtime.ensure_image(&image, PullPolicy::Missing, None, &|_| {}).await }
    };
    let answers = join_all((0..20).map(|_| ask(missing.clone()))).await;
    assert!(answers.iter().all(|a| matches!(a, Err(RuntimeError::ImageMissing { .. }))), "{answers:?}");
    let answers = join_all((0..20).map(|_| ask(harness.image()))).await;
    assert!(answers.iter().all(|answer| answer.as_ref() == Ok(&room.image)), "{answers:?}");
    room.leave().await;
}

/// Nor is it used in the place of the wanted one.
pub async fn an_image_for_another_platform_is_not_available(harness: impl RuntimeHarness) {
    let room = Room::enter(&harness).await;
    let image = harness.image();
    let foreign: Platform = "linux/s390x".parse().expect("a platform");
    let ask = |platform| room.runtime.ensure_image(&image, PullPolicy::Never, platform, &|_| {});
    let answer = ask(Some(&foreign)).await;
    assert!(matches!(&answer, Err(RuntimeError::ImageMissing { .. })), "{answer:?}");
    assert_eq!(ask(None).await.as_ref(), Ok(&room.image));
    room.leave().await;
}
