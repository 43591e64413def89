//! Tables: columns two spaces apart, no lines, nothing wrapped, so that they can be cut and grepped.

use super::Ink;
use super::ink::Mood;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table};

/// One cell: text, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    text: String,
    mood: Option<Mood>,
    right: bool,
}

/// Text; empty becomes a dash, so that a column is never missing.
pub(crate) fn field(text: impl Into<String>) -> Field {
    let text = text.into();
    Field { text: if text.is_empty() { "-".into() } else { text }, mood: None, right: false }
}

/// A number.
pub(crate) fn number(number: u64) -> Field {
    Field { right: true, ..field(number.to_string()) }
}

/// A number that is not always there.
pub(crate) fn number_if(count: Option<u64>) -> Field {
    count.map_or(Field { right: true, ..field("") }, number)
}

/// A figure with its unit, where it is known.
pub(crate) fn right(figure: Option<String>) -> Field {
    Field { right: true, ..field(figure.unwrap_or_default()) }
}

/// A word that means something.
pub(crate) fn word<W: std::fmt::Display + Into<Mood>>(word: W) -> Field {
    Field { text: word.to_string(), mood: Some(word.into()), right: false }
}

/// What stands between two columns.
const GAP: usize = 2;
/// No column is made narrower than this, nor than its title.
const NARROWEST: usize = 8;

/// Shortens the widest columns until a line fits; the last resort is a line that is too long.
fn fit(header: &[&str], rows: &mut [Vec<Field>], width: usize) {
    let mut widths: Vec<usize> = header.iter().map(|title| title.chars().count()).collect();
    for (column, field) in rows.iter().flat_map(|row| row.iter().enumerate()) {
        if let Some(width) = widths.get_mut(column) {
            *width = (*width).max(field.text.chars().count());
        }
    }
    let least = |column: usize| NARROWEST.max(header[column].chars().count());
    while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > width {
        let shrinkable = (0..widths.len()).filter(|column| widths[*column] > least(*column));
        let Some(widest) = shrinkable.max_by_key(|column| widths[*column]) else { break };
        widths[widest] -= 1;
    }
    for row in rows {
        for (field, width) in row.iter_mut().zip(&widths) {
            field.text = super::text::shorten(&field.text, *width);
        }
    }
}

/// The table as text, ending with a newline.
pub(crate) fn render(header: &[&str], mut rows: Vec<Vec<Field>>, ink: Ink) -> String {
    if let Some(width) = ink.width {
        fit(header, &mut rows, width);
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if ink.on {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let titles = header.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold));
    table.set_header(titles);
    for row in rows {
        table.add_row(row.into_iter().map(cell));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

fn cell(field: Field) -> Cell {
    let cell = Cell::new(field.text);
    let cell = if field.right { cell.set_alignment(CellAlignment::Right) } else { cell };
    match field.mood {
        None => cell,
        Some(Mood::Good) => cell.fg(Color::Green),
        Some(Mood::Busy) => cell.fg(Color::Yellow),
        Some(Mood::Bad) => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        Some(Mood::Calm) => cell.add_attribute(Attribute::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_the_screen_by_shortening_its_longest_column() {
        let rows = || vec![vec![field("time"), field("an image with a long name"), number(12)]];
        let narrow = |width| render(&["NAME", "IMAGE", "N"], rows(), Ink { on: false, width: Some(width) });
        assert_eq!(narrow(80), "NAME  IMAGE                      N\ntime  an image with a long name  12\n");
        assert_eq!(narrow(24), "NAME  IMAGE           N\ntime  an image with…  12\n");
        assert_eq!(
            narrow(5),
            "NAME  IMAGE     N\ntime  an imag…  12\n",
            "what cannot fit is not cut to pieces"
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows =
            vec![vec![field("a"), number(3), field("")], vec![field("日本語"), number(12), field("b")]];
        assert_eq!(
            render(&["NAME", "N", "X"], rows, Ink::OFF),
            "NAME    N   X\n\
             a        3  -\n\
             日本語  12  b\n"
        );
    }
}
