//! The table of `top`.

use super::Shape;
use super::ink::Ink;
use super::table::{field, number_if, render, right};
use super::text::line;
use serde::Serialize;

/// What one container of a server uses. What is not known is absent.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) group_id: String,
    pub(crate) instance_name: String,
    pub(crate) replica: u32,
    pub(crate) generation: u64,
    /// Tells it from the others of its server.
    #[serde(skip)]
    pub(crate) name: String,
    /// 100 is one core.
    pub(crate) cpu_percent: Option<f64>,
    pub(crate) cpu_limit_percent: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) pids: Option<u64>,
    pub(crate) pids_limit: Option<u64>,
}

/// Containers, a line each; as names their servers.
pub(crate) fn table(rows: &[Row], shape: Shape, ink: Ink) -> String {
    if shape == Shape::Name {
        let mut names: Vec<String> =
            rows.iter().map(|row| format!("{}\n", line(&row.instance_name))).collect();
        names.dedup();
        return names.concat();
    }
    let header = ["GROUP", "INSTANCE", "CPU", "OF", "MEMORY", "OF", "PIDS", "OF"];
    let cells = rows.iter().map(|row| {
        vec![
            field(line(&row.group_id)),
            field(line(&row.name)),
            right(row.cpu_percent.map(percent)),
            right(row.cpu_limit_percent.map(percent)),
            right(row.memory_bytes.map(size)),
            right(row.memory_limit_bytes.map(size)),
            number_if(row.pids),
            number_if(row.pids_limit),
        ]
    });
    render(&header, cells.collect(), ink)
}

fn percent(share: f64) -> String {
    if share >= 99.95 { format!("{share:.0}%") } else { format!("{share:.1}%") }
}

/// In the biggest unit that leaves a number from 1.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0}{}", UNITS[unit])
    } else {
        format!("{value:.1}{}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_a_dash() {
        let busy = Row {
            group_id: "demo".into(),
            instance_name: "time".into(),
            replica: 0,
            generation: 1,
            name: "time".into(),
            cpu_percent: Some(12.34),
            cpu_limit_percent: Some(50.0),
            memory_bytes: Some(45 << 20),
            memory_limit_bytes: Some(256 << 20),
            pids: Some(3),
            pids_limit: Some(128),
        };
        let unknown = Row {
            instance_name: "web".into(),
            replica: 1,
            name: "web/1".into(),
            cpu_percent: None,
            cpu_limit_percent: None,
            memory_bytes: None,
            memory_limit_bytes: None,
            pids: None,
            pids_limit: None,
            ..busy.clone()
        };
        assert_eq!(
            table(&[busy, unknown.clone()], Shape::Table, Ink::OFF),
            "\
GROUP  INSTANCE  CPU    OF     MEMORY   OF      PIDS  OF
demo   time      12.3%  50.0%  45.0MiB  256MiB     3  128
demo   web/1         -      -        -       -     -    -
"
        );
        let replicas = [unknown.clone(), Row { replica: 1, ..unknown }];
        assert_eq!(table(&replicas, Shape::Name, Ink::OFF), "web\n", "a server is named once");
        assert_eq!([size(0), size(1023), size(1024)], ["0B", "1023B", "1.0KiB"]);
    }
}
