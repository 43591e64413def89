//! Which images may go: only those that this installation fetched from a registry, that a registry can give back, that
//! no container is made from and that nothing anybody may go back to names. And when: while the disk is full.

use crate::Timestamp;
use crate::id::{ImageId, ImageRef};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageObservation {
    /// Its content hash.
    pub id: ImageId,
    /// Its names with a tag.
    pub tags: Vec<ImageRef>,
    /// Its names with a digest: where a registry can give it back.
    pub digests: Vec<ImageRef>,
    /// Bytes; layers that others have too are counted with each.
    pub size: u64,
    /// A container is made from it, whoever's and in whatever state.
    pub in_use: bool,
    /// By which references this installation fetched it; empty when it did not.
    pub fetched_as: BTreeSet<ImageRef>,
}

/// How full the engine's disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskUsage {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that are free for everybody.
    pub free: u64,
}

impl DiskUsage {
    fn used(self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// How many bytes more than this share of it are used, if any.
    fn above(self, percent: u8) -> Option<u64> {
        let most = u128::from(self.total) * u128::from(percent) / 100;
        self.used().checked_sub(u64::try_from(most).ok()?).filter(|excess| *excess > 0)
    }
}

/// The operator's policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageGc {
    /// Images go when more percent of the disk than this are used.
    pub high: u8,
    /// ... until no more percent than this would be.
    pub low: u8,
    /// For how long an image must have been needed by nobody.
    pub min_age: Duration,
}

/// Since when each image has been needed by nobody. A daemon that is started begins to count anew.
#[derive(Debug, Default)]
pub struct Idle(BTreeMap<ImageId, Timestamp>);

impl Idle {
    /// Takes in a look at the engine: what is needed, or gone, is idle no longer.
    pub fn note(&mut self, seen: &[ImageObservation], needed: &BTreeSet<ImageRef>, now: Timestamp) {
        let idle = |image: &&ImageObservation| may_go(image, needed);
        let known = std::mem::take(&mut self.0);
        let since = |image: &ImageObservation| known.get(&image.id).copied().unwrap_or(now).min(now);
        self.0 = seen.iter().filter(idle).map(|image| (image.id.clone(), since(image))).collect();
    }

    /// It could not be removed: what holds on to it is taken for somebody who needed it until now, so that it is not
    /// tried again at every look and does not stand before others.
    pub fn put_off(&mut self, image: &ImageId, now: Timestamp) {
        if let Some(since) = self.0.get_mut(image) {
            *since = now;
        }
    }

    /// Those that go now, the longest unneeded first. Of a disk that cannot be seen nothing is known, so that nothing
    /// goes because of it.
    #[must_use]
    pub fn overdue<'a>(
        &self,
        seen: &'a [ImageObservation],
        policy: ImageGc,
        disk: Option<DiskUsage>,
        now: Timestamp,
    ) -> Vec<&'a ImageObservation> {
        let old = |since: Timestamp| now.duration_since(since).unsigned_abs() >= policy.min_age;
        let idle = seen.iter().filter_map(|image| Some((*self.0.get(&image.id)?, image)));
        let mut idle: Vec<_> = idle.filter(|(since, _)| old(*since)).collect();
        idle.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.id.cmp(&y.id)));
        let idle = idle.into_iter().map(|(_, image)| image);
        let full = disk.filter(|disk| disk.above(policy.high).is_some());
        enough(idle, full.and_then(|disk| disk.above(policy.low)).unwrap_or(0))
    }
}

/// As many as free so much.
fn enough<'a>(
    idle: impl Iterator<Item = &'a ImageObservation>,
    mut excess: u64,
) -> Vec<&'a ImageObservation> {
    let mut chosen = Vec::new();
    for image in idle {
        if excess == 0 {
            break;
        }
        excess = excess.saturating_sub(image.size);
        chosen.push(image);
    }
    chosen
}

/// Whether nobody would miss it. A name that somebody else gave it is a sign that somebody would.
#[must_use]
pub fn may_go(image: &ImageObservation, needed: &BTreeSet<ImageRef>) -> bool {
    let ours: BTreeSet<_> = image.fetched_as.iter().map(full_name).collect();
    !image.in_use
        && !image.digests.is_empty()
        && !ours.is_empty()
        && image.tags.iter().all(|tag| ours.contains(&full_name(tag)))
        && !needed.iter().any(|reference| means(reference, image))
}

/// In doubt it does: which repository a digest is of does not matter, and the beginning of an id is enough.
fn means(reference: &ImageRef, image: &ImageObservation) -> bool {
    let names = || image.tags.iter().chain(&image.digests);
    let digest = digest_of(reference);
    is_id(reference, &image.id)
        || (digest.is_some() && image.digests.iter().any(|known| digest_of(known) == digest))
        || names().any(|known| full_name(known) == full_name(reference))
}

fn digest_of(reference: &ImageRef) -> Option<&str> {
    reference.as_str().split_once('@').map(|(_, digest)| digest)
}

/// `60f8d9d26840`, or in full, with `sha256:` or without.
fn is_id(reference: &ImageRef, id: &ImageId) -> bool {
    let start = bare(reference.as_str());
    !start.is_empty() && bare(id.as_str()).starts_with(start)
}

fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// The name with what engines leave out: `docker.io/library/busybox:latest` for `busybox` and `docker.io/busybox`. Where
/// there is a digest the tag means nothing.
fn full_name(reference: &ImageRef) -> String {
    let text = reference.as_str();
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (name, tag) = match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
        Some(_) | None => (name, None),
    };
    let name = name.strip_prefix("index.docker.io/").or(name.strip_prefix("docker.io/")).unwrap_or(name);
    let host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let name = match name.split_once('/') {
        Some((first, _)) if host(first) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    };
    match digest {
        Some(digest) => format!("{name}@{digest}"),
        None => format!("{name}:{}", tag.unwrap_or("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    /// Fetched by its tag, from a registry, and used by nobody.
    fn image(name: &str) -> ImageObservation {
        let tag = ImageRef::from(format!("registry:5000/{name}:1"));
        ImageObservation {
            id: format!("sha256:{name}").into(),
            digests: vec![format!("registry:5000/{name}@sha256:00{name}").into()],
            size: 100,
            in_use: false,
            fetched_as: [tag.clone()].into(),
            tags: vec![tag],
        }
    }

    fn needed(references: &[&str]) -> BTreeSet<ImageRef> {
        references.iter().map(|reference| ImageRef::from(*reference)).collect()
    }

    #[track_caller]
    fn check(image: &ImageObservation, references: &[&str], expected: bool) {
        assert_eq!(may_go(image, &needed(references)), expected, "{image:?}");
    }

    #[test]
    fn only_what_was_fetched_and_can_be_fetched_again_and_is_needed_by_nobody_may_go() {
        check(&image("a"), &["registry:5000/b:1"], true);
        check(&ImageObservation { in_use: true, ..image("a") }, &[], false);
        check(&ImageObservation { fetched_as: BTreeSet::new(), ..image("a") }, &[], false);
        check(&ImageObservation { digests: vec![], ..image("a") }, &[], false);
        for reference in [
            "registry:5000/abc:1",
            "registry:5000/abc@sha256:00abc",
            "registry:5000/abc:9@sha256:00abc",
            "mirror/abc@sha256:00abc",
            "sha256:abc",
            "abc",
            "ab",
        ] {
            check(&image("abc"), &[reference], false);
        }
        check(&image("abc"), &["abd", "registry:5000/abc:2", "registry:5000/abc@sha256:00ab"], true);
        let somebody_elses = vec!["registry:5000/a:1".into(), "mine:kept".into()];
        check(&ImageObservation { tags: somebody_elses, ..image("a") }, &[], false);
        check(&ImageObservation { tags: vec![], ..image("a") }, &["registry:5000/a:1"], true);
    }

    #[test]
    fn names_are_compared_in_full() {
        for (short, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("docker.io/busybox:1", "docker.io/library/busybox:1"),
            ("index.docker.io/a/b", "docker.io/a/b:latest"),
            ("docker.io/library/busybox:latest", "docker.io/library/busybox:latest"),
            ("a/b:1", "docker.io/a/b:1"),
            ("localhost/a", "localhost/a:latest"),
            ("registry:5000/a", "registry:5000/a:latest"),
            ("a:1@sha256:00", "docker.io/library/a@sha256:00"),
        ] {
            assert_eq!(full_name(&short.into()), full, "{short}");
        }
    }

    fn overdue(
        idle: &Idle,
        seen: &[ImageObservation],
        policy: ImageGc,
        used: u64,
        now: Timestamp,
    ) -> Vec<String> {
        let disk = Some(DiskUsage { total: 1000, free: 1000 - used });
        let chosen = idle.overdue(seen, policy, disk, now);
        chosen.into_iter().map(|image| image.id.to_string()).collect()
    }

    #[test]
    fn age_counts_from_when_an_image_was_last_needed() {
        let policy = ImageGc { high: 85, low: 10, min_age: Duration::from_secs(3600) };
        let (seen, mut idle) = (vec![image("a"), image("b")], Idle::default());
        idle.note(&seen, &needed(&["registry:5000/b:1"]), at(0));
        idle.note(&seen, &needed(&[]), at(10));
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(HOUR - 1)), [""; 0]);
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(HOUR)), ["sha256:a"]);
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(HOUR + 10)), ["sha256:a", "sha256:b"]);
        idle.note(&seen, &needed(&["registry:5000/a:1"]), at(HOUR));
        idle.note(&seen, &needed(&[]), at(HOUR + 20));
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(HOUR + 30)), ["sha256:b"]);
    }

    #[test]
    fn what_could_not_be_removed_comes_last_and_not_before_it_is_old_again() {
        let policy = ImageGc { high: 85, low: 80, min_age: Duration::from_secs(3600) };
        let (seen, mut idle) = (vec![image("a"), image("b")], Idle::default());
        idle.note(&seen, &needed(&[]), at(0));
        assert_eq!(overdue(&idle, &seen, policy, 900, at(HOUR)), ["sha256:a"]);
        idle.put_off(&"sha256:a".into(), at(HOUR));
        idle.note(&seen, &needed(&[]), at(HOUR + 1));
        assert_eq!(overdue(&idle, &seen, policy, 900, at(HOUR + 1)), ["sha256:b"]);
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(2 * HOUR - 1)), ["sha256:b"]);
        assert_eq!(overdue(&idle, &seen, policy, 1000, at(2 * HOUR)), ["sha256:b", "sha256:a"]);
    }

    #[test]
    fn a_disk_that_fills_is_cleared_down_to_the_low_mark_and_no_further() {
        let policy = ImageGc { high: 85, low: 70, min_age: Duration::from_secs(3600) };
        let (seen, mut idle) = (["a", "b", "c"].map(image), Idle::default());
        for (second, count) in [(0, 1), (10, 2), (20, 3)] {
            idle.note(&seen[3 - count..], &needed(&[]), at(second));
        }
        let now = at(2 * HOUR);
        assert_eq!(overdue(&idle, &seen, policy, 850, now), [""; 0]);
        assert_eq!(overdue(&idle, &seen, policy, 851, now), ["sha256:c", "sha256:b"]);
        assert_eq!(overdue(&idle, &seen, policy, 999, now), ["sha256:c", "sha256:b", "sha256:a"]);
        assert_eq!(overdue(&idle, &seen, policy, 999, at(HOUR)), ["sha256:c"]);
        assert_eq!(idle.overdue(&seen, policy, None, now), Vec::<&ImageObservation>::new());
    }
}
