//! When images that nobody needs are removed.

use super::{File, Sources};
use crate::cli::{SettingArgs, time};
use dtma_core::image_gc::ImageGc;
use std::time::Duration;

/// A disk that is full fails every server, an image that is gone is fetched again.
pub(crate) const IMAGE_GC: &str = "disk";
pub(crate) const IMAGE_GC_MIN_AGE: &str = "24h";
/// The marks of a kubelet.
pub(crate) const IMAGE_GC_HIGH: &str = "85";
pub(crate) const IMAGE_GC_LOW: &str = "80";

impl Sources<'_> {
    /// `None`: never. What is said of the rest is looked at all the same.
    pub(super) fn image_gc(&mut self, args: &SettingArgs, file: &File) -> Option<ImageGc> {
        let when = args.image_gc.clone().or(file.image_gc.clone()).unwrap_or_else(|| IMAGE_GC.into());
        if !["off", "disk"].contains(&when.as_str()) {
            self.report("image_gc", format!("{when:?} is neither off nor disk"));
        }
        let (marks, min_age) = (self.marks(args, file), self.min_age(args, file));
        let (high, low) = marks?;
        Some(ImageGc { high, low, min_age: min_age? }).filter(|_| when == "disk")
    }

    fn marks(&mut self, args: &SettingArgs, file: &File) -> Option<(u8, u8)> {
        let number =
            |said: &Option<String>, file: Option<u64>| said.clone().or(file.map(|it| it.to_string()));
        let high = number(&args.image_gc_high_percent, file.image_gc_high_percent);
        let low = number(&args.image_gc_low_percent, file.image_gc_low_percent);
        let high = self.percent("image_gc_high_percent", high, IMAGE_GC_HIGH);
        let low = self.percent("image_gc_low_percent", low, IMAGE_GC_LOW);
        let (high, low) = high.zip(low)?;
        if low > high {
            self.report("image_gc_low_percent", format!("{low} is above image_gc_high_percent, {high}"));
        }
        Some((high, low))
    }

    fn percent(&mut self, id: &'static str, said: Option<String>, default: &str) -> Option<u8> {
        let text = said.unwrap_or_else(|| default.to_owned());
        let percent = text.parse().ok().filter(|percent| (1..=100).contains(percent));
        if percent.is_none() {
            self.report(id, format!("{text:?} is not a number from 1 to 100"));
        }
        percent
    }

    fn min_age(&mut self, args: &SettingArgs, file: &File) -> Option<Duration> {
        let said = args.image_gc_min_age.clone().or(file.image_gc_min_age.clone());
        let text = said.unwrap_or_else(|| IMAGE_GC_MIN_AGE.to_owned());
        let age = time(&text);
        age.map_err(|problem| self.report("image_gc_min_age", format!("{text:?}: {problem}"))).ok()
    }
}
