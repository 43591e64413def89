//! Mounts: each type has fields of its own.

use super::number::Numbers;
use super::{Finder, placeholder};
use dtma_api_types::{Mount, MountType};
use dtma_core::spec::MountSource;

/// Bytes of a tmpfs whose size nobody gave.
const DEFAULT_TMPFS: u64 = 64 * 1024 * 1024;

pub(super) fn convert(wire: &Mount, finder: &mut Finder<'_>) -> Option<dtma_core::spec::Mount> {
    Some(dtma_core::spec::Mount {
        target: wire.target.clone(),
        source: source(wire, finder)?,
        read_only: wire.read_only.unwrap_or(false),
    })
}

fn source(wire: &Mount, finder: &mut Finder<'_>) -> Option<MountSource> {
    let source = match wire.mount_type {
        MountType::Volume => {
            let name = required(finder, "name", wire.name.as_deref());
            forbidden(finder, "source", wire.source.is_some(), "bind");
            forbidden(finder, "size", wire.size.is_some(), "tmpfs");
            let name = name.and_then(|name| finder.at("name").name(name));
            MountSource::Volume(name.or_else(|| placeholder("unnamed"))?)
        }
        MountType::Tmpfs => {
            forbidden(finder, "name", wire.name.is_some(), "volume");
            forbidden(finder, "source", wire.source.is_some(), "bind");
            MountSource::Tmpfs { size: finder.at("size").bytes(wire.size.as_ref()).unwrap_or(DEFAULT_TMPFS) }
        }
        MountType::Bind => {
            forbidden(finder, "name", wire.name.is_some(), "volume");
            forbidden(finder, "size", wire.size.is_some(), "tmpfs");
            MountSource::Bind(
                required(finder, "source", wire.source.as_deref()).unwrap_or_default().to_owned(),
            )
        }
    };
    Some(source)
}

fn required<'a>(finder: &mut Finder<'_>, field: &str, value: Option<&'a str>) -> Option<&'a str> {
    if value.is_none() {
        let message = format!("this type of mount needs the field {field:?}");
        finder.at(field).report(&format!("mount.{field}"), message);
    }
    value
}

fn forbidden(finder: &mut Finder<'_>, field: &str, present: bool, only: &str) {
    if present {
        let message = format!("the field {field:?} belongs to mounts of type {only:?} only");
        finder.at(field).report(&format!("mount.{field}"), message);
    }
}
