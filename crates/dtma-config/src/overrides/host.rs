//! The fields of `HostConfig` that can tighten, or move inside the ceilings.

use super::{Patch, Reader, TmpfsPatch, fold, says_nothing};
use crate::check::{limits, mounts};
use crate::rule;
use dtma_core::container::IMAGE_VOLUME_BYTES;
use dtma_core::violation::pointer_token;
use serde_json::Value;

impl Reader<'_> {
    pub(super) fn host_field(&mut self, patch: &mut Patch, at: &str, key: &str, value: &Value) {
        match key {
            "memory" => self.memory(patch, at, value),
            "nanocpus" => self.cpu(patch, at, value),
            "pidslimit" => self.pids(patch, at, value),
            "readonlyrootfs" | "init" => self.stays_on(at, value),
            "capdrop" => patch.cap_drop.extend(self.words(at, value).unwrap_or_default()),
            "tmpfs" => self.tmpfs(patch, at, value),
            "oomscoreadj" => self.oom_score(patch, at, value),
            "ulimits" => self.ulimits(patch, at, value),
            "restartpolicy" => self.restart_policy(at, value),
            // Every other value has been judged already.
            "networkmode" => {
                patch.no_network = value.as_str().is_some_and(|mode| fold(mode.trim()) == "none");
            }
            _ => self.unsupported(at, key, value),
        }
    }

    fn memory(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        patch.resources.memory = self.natural(at, value);
        if let Some(asked) = patch.resources.memory {
            limits::memory(self.report, at, asked, self.policy);
        }
    }

    fn cpu(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        let millis = self.natural(at, value).map(|nano| u32::try_from(nano / 1_000_000).unwrap_or(u32::MAX));
        patch.resources.cpu_millis = millis;
        if let Some(asked) = millis {
            limits::cpu(self.report, at, asked, self.policy);
        }
    }

    fn pids(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        patch.resources.pids = self.natural(at, value).map(|asked| u32::try_from(asked).unwrap_or(u32::MAX));
        if let Some(asked) = patch.resources.pids {
            limits::pids(self.report, at, asked, self.policy);
        }
    }

    /// Higher means "dies sooner", so only upwards.
    fn oom_score(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        let least = self.template.oom_score_adj;
        match value.as_i64().and_then(|asked| i32::try_from(asked).ok()) {
            Some(asked) if (least..=1000).contains(&asked) => patch.oom_score_adj = Some(asked),
            None if value.is_null() => {}
            Some(_) | None => self.loosens(at, &format!("a whole number from {least} to 1000")),
        }
    }

    fn loosens(&mut self, at: &str, allowed: &str) {
        let message = format!("overrides can tighten only: allowed is {allowed}");
        self.report.refuse(at, rule::OVERRIDE_LOOSENS, message);
    }

    /// The engine's own word for what is always so.
    fn restart_policy(&mut self, at: &str, value: &Value) {
        let is_no = |(key, value): (&String, &Value)| {
            says_nothing(value) || (fold(key) == "name" && value.as_str() == Some("no"))
        };
        if !value.as_object().is_some_and(|policy| policy.iter().all(is_no)) {
            self.unsupported(at, "restartpolicy", value);
        }
    }

    fn ulimits(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        for (index, entry) in self.list(at, value).iter().enumerate() {
            let at = format!("{at}/{index}");
            match self.nofile(&at, entry) {
                Some(nofile) => patch.nofile = Some(nofile),
                None => {
                    let (soft, hard) = (self.template.nofile_soft, self.template.nofile_hard);
                    self.loosens(&at, &format!("nofile with Soft up to {soft} and Hard up to {hard}"));
                }
            }
        }
    }

    /// Soft and hard, when the entry is `nofile` within the template's limits.
    fn nofile(&mut self, at: &str, entry: &Value) -> Option<(u64, u64)> {
        let (mut name, mut soft, mut hard) = (None, None, None);
        self.each(at, entry.as_object()?, |_, _, key, value| match key {
            "name" => name = value.as_str().map(str::to_owned),
            "soft" => soft = value.as_u64(),
            "hard" => hard = value.as_u64(),
            _ => name = None,
        });
        let (soft, hard) = (soft?, hard?);
        let within = soft <= self.template.nofile_soft && hard <= self.template.nofile_hard;
        (name? == "nofile" && within && (16..=hard).contains(&soft)).then_some((soft, hard))
    }

    fn tmpfs(&mut self, patch: &mut Patch, at: &str, value: &Value) {
        let Some(object) = self.object(at, value) else { return };
        for (target, options) in object {
            let at = format!("{at}/{}", pointer_token(target));
            mounts::target(self.report, &at, target);
            let Some(options) = self.string(&at, options) else { continue };
            if let Some(size) = self.tmpfs_size(&at, options) {
                limits::tmpfs(self.report, &at, size, self.policy);
                patch.tmpfs.push(TmpfsPatch { at, target: target.clone(), size });
            }
        }
    }

    /// The size among a tmpfs's options; those that are always on may be repeated.
    fn tmpfs_size(&mut self, at: &str, options: &str) -> Option<u64> {
        let mut size = IMAGE_VOLUME_BYTES;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                None if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
                Some(("size", text)) if sized(text).is_some() => size = sized(text)?,
                Some(_) | None => {
                    self.loosens(at, "rw, noexec, nosuid, nodev and size=BYTES (with k, m or g)");
                    return None;
                }
            }
        }
        Some(size)
    }
}

/// Bytes as the kernel reads them: a number, or one with `k`, `m` or `g`.
fn sized(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let unit =
        [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30)].into_iter().find(|(unit, _)| text.ends_with(*unit));
    let (digits, factor) = unit
        .map_or((text.as_str(), 1), |(unit, factor)| (text.strip_suffix(unit).unwrap_or_default(), factor));
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}
