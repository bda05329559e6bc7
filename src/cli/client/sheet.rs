//! Tables for people: as wide as the terminal, one column in colour.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use uuid::Uuid;

use super::paper::{Paper, Tone, clean};

/// Columns between two columns.
const GAP: u16 = 2;

/// A table that grows row by row.
#[derive(Debug)]
pub struct Sheet {
    table: Table,
    headers: Vec<&'static str>,
    toned: Option<usize>,
    /// By column, the widest word that is never broken: its header, or an id, which people copy.
    unbroken: Vec<usize>,
    /// Columns that are left out where there is no room for all, the least important first.
    expendable: &'static [&'static str],
    rows: usize,
}

impl Sheet {
    /// A table with these columns. The first ones are those that are never broken over lines.
    pub fn new(headers: &[&'static str]) -> Self {
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(headers);
        let unbroken = headers.iter().map(|header| header.len()).collect();
        Self { table, headers: headers.to_vec(), toned: None, unbroken, expendable: &[], rows: 0 }
    }

    /// With these columns left out where there is no room for all, the first of them first; then the others, from the last one on.
    #[must_use]
    pub fn expendable(mut self, columns: &'static [&'static str]) -> Self {
        self.expendable = columns;
        self
    }

    /// With the words of this column in the tone that they have. Columns before it hold ASCII only.
    #[must_use]
    pub fn toned(mut self, column: usize) -> Self {
        self.toned = Some(column);
        self
    }

    /// One more row.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let cells: Vec<String> = cells.into_iter().map(|cell| clean(cell.as_ref()).into_owned()).collect();
        for (unbroken, cell) in self.unbroken.iter_mut().zip(&cells) {
            let ids = cell.split(' ').filter(|word| Uuid::try_parse(word.trim_end_matches(',')).is_ok());
            *unbroken = ids.map(str::len).fold(*unbroken, usize::max);
        }
        self.table.add_row(cells);
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
        let least = self.least_widths(whole);
        let left_out = paper.width.map(|width| self.left_out(&least, usize::from(width))).unwrap_or_default();
        for (position, column) in self.table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            column.set_constraint(if left_out.contains(&position) {
                ColumnConstraint::Hidden
            } else if position < whole {
                ColumnConstraint::ContentWidth
            } else {
                let least = u16::try_from(least[position]).unwrap_or(u16::MAX);
                ColumnConstraint::LowerBoundary(Width::Fixed(least))
            });
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

impl Sheet {
    /// What each column needs at least, the gap behind it included.
    fn least_widths(&self, whole: usize) -> Vec<usize> {
        let contents = self.table.column_max_content_widths();
        let least = |(position, (content, unbroken)): (usize, (&u16, &usize))| {
            usize::from(GAP) + if position < whole { usize::from(*content) } else { *unbroken }
        };
        contents.iter().zip(&self.unbroken).enumerate().map(least).collect()
    }

    /// The columns that have no room at this width. The first one always stays.
    fn left_out(&self, least: &[usize], width: usize) -> Vec<usize> {
        let position = |name: &&str| self.headers.iter().position(|header| header == name);
        let named: Vec<usize> = self.expendable.iter().filter_map(position).collect();
        let rest = (1..least.len()).rev().filter(|column| !named.contains(column));
        let mut candidates = named.iter().copied().chain(rest);
        let mut left_out = Vec::new();
        // Behind the last column there is no gap.
        let mut needed = least.iter().sum::<usize>().saturating_sub(usize::from(GAP));
        while needed > width
            && let Some(column) = candidates.next()
        {
            needed -= least[column];
            left_out.push(column);
        }
        left_out
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
    fn ids_and_headers_are_whole_at_any_width_and_the_least_important_columns_go_first() {
        const HEADERS: [&str; 6] = ["id", "status", "key", "attempts", "updated (UTC)", "why"];
        let id = "019a8f6e-0000-7000-8000-000000000000";
        let why = "第三方返回了五百零三,并且说了很长的一段话来解释为什么现在不能处理这个请求";
        for (width, kept) in [(120, 6), (80, 5), (60, 4), (50, 2)] {
            let mut sheet = Sheet::new(&HEADERS).toned(1).expendable(&["updated (UTC)", "attempts"]);
            sheet.row([id, "scheduled", "订单-一二三四五六七八", "3", "2026-11-21 10:00:00", why]);
            let text = sheet.render(Paper { width: Some(width), ink: Ink::Plain });
            assert!(text.contains(id), "{width}\n{text}");
            let first = text.lines().next().unwrap();
            let shown = HEADERS.iter().filter(|header| first.contains(**header)).count();
            assert_eq!(shown, kept, "{width}\n{text}");
            let widest = text.lines().map(|line| ratatui::text::Line::from(line).width()).max().unwrap();
            assert!(widest <= usize::from(width).max(id.len()), "{width}: {widest}\n{text}");
        }
    }

    #[test]
    fn pairs_stand_under_each_other_and_empty_ones_are_left_out() {
        let text =
            pairs([("id", "7"), ("note", ""), ("status", "review")], Paper { width: None, ink: Ink::Plain });
        assert_eq!(text, "id      7\nstatus  review");
    }
}
