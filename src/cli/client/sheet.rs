//! Tables for people: as wide as the terminal, one column in colour.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};

use super::paper::{Paper, Tone, clean};

/// A table that grows row by row.
#[derive(Debug)]
pub struct Sheet {
    table: Table,
    headers: Vec<&'static str>,
    toned: Option<usize>,
    rows: usize,
}

impl Sheet {
    /// A table with these columns. The first ones are those that are never broken over lines.
    pub fn new(headers: &[&'static str]) -> Self {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(headers);
        Self { table, headers: headers.to_vec(), toned: None, rows: 0 }
    }

    /// With the words of this column in the tone that they have. Columns before it hold ASCII only.
    #[must_use]
    pub fn toned(mut self, column: usize) -> Self {
        self.toned = Some(column);
        self
    }

    /// One more row.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.table.add_row(cells.into_iter().map(|cell| clean(cell.as_ref()).into_owned()));
        self.rows += 1;
    }

    /// Whether it has no rows.
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The table as text.
    pub fn render(mut self, paper: Paper) -> String {
        if let Some(width) = paper.width {
            self.table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        let whole = self.toned.map_or(1, |toned| toned + 1);
        for (position, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if position < whole {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let lines: Vec<String> = self.table.lines().collect();
        let start = self.toned.and_then(|column| lines.first()?.find(self.headers[column]));
        let lines = lines.iter().map(|line| match start {
            Some(start) => tone_word(line, start, paper),
            None => line.clone(),
        });
        lines.map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
}

/// The line with the word that begins at this byte in its tone.
fn tone_word(line: &str, start: usize, paper: Paper) -> String {
    let Some((before, rest)) = line.split_at_checked(start) else { return line.to_owned() };
    let word = rest.split(' ').next().unwrap_or_default();
    format!("{before}{}{}", paper.toned(word, Tone::of(word)), &rest[word.len()..])
}

/// Names and values, one a line; what is empty is left out.
pub fn pairs<V: AsRef<str>>(pairs: impl IntoIterator<Item = (&'static str, V)>, paper: Paper) -> String {
    let pairs: Vec<_> =
        pairs.into_iter().map(|(name, value)| (name, clean(value.as_ref()).into_owned())).collect();
    let wide = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line =
        |(name, value): &(&str, String)| format!("{name:<wide$}  {}", paper.toned(value, Tone::of(value)));
    pairs.iter().filter(|(_, value)| !value.is_empty()).map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::paper::Ink;
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new(&["id", "status", "error"]).toned(1);
        sheet.row(["7", "review", "the third party answered 503 and said so at some length\u{1b}"]);
        sheet.row(["8", "scheduled", ""]);
        sheet
    }

    #[test]
    fn a_table_without_a_terminal_is_plain_and_unbroken() {
        let text = sheet().render(Paper { width: None, ink: Ink::Plain });
        let expected = "id  status     error\n7   review     the third party answered 503 and said so at some length\u{fffd}\n8   scheduled";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_table_fits_the_terminal_and_has_its_status_in_colour() {
        let text = sheet().render(Paper { width: Some(40), ink: Ink::Colours });
        assert!(text.contains("7   \u{1b}[31mreview\u{1b}[0m     the third party"), "{text}");
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.chars().count() <= 50), "{text}");
    }

    #[test]
    fn pairs_stand_under_each_other_and_empty_ones_are_left_out() {
        let text =
            pairs([("id", "7"), ("note", ""), ("status", "review")], Paper { width: None, ink: Ink::Plain });
        assert_eq!(text, "id      7\nstatus  review");
    }
}
