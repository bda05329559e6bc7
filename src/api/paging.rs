//! `limit` and `cursor`, the same in every list.

use super::calls::{bad, read_limit};
use super::problem::Result;
use crate::limits::PAGE_DEFAULT;

/// The page that a list was asked for.
#[derive(Debug)]
pub(super) struct Paging<'a> {
    /// Most entries of it.
    pub(super) limit: usize,
    cursor: Option<&'a str>,
}

impl<'a> Paging<'a> {
    /// Reads `limit` and `cursor`; `condition` reads every other parameter that is not empty.
    ///
    /// # Errors
    /// 400 for a limit that cannot be read, or what `condition` says.
    pub(super) fn read(
        parameters: &'a [(String, String)],
        mut condition: impl FnMut(&str, &str) -> Result<()>,
    ) -> Result<Self> {
        let mut paging = Self { limit: PAGE_DEFAULT, cursor: None };
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "limit" => paging.limit = read_limit(value)?,
                "cursor" => paging.cursor = Some(value),
                _ => condition(name, value)?,
            }
        }
        Ok(paging)
    }

    /// The place where the page begins; `None`: at the beginning.
    ///
    /// # Errors
    /// 400 for a cursor that `open` cannot read.
    pub(super) fn place<T>(&self, open: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>> {
        let sentence = || bad("cursor", "must be the next_cursor of a list with the same conditions");
        self.cursor.map(|text| open(text).ok_or_else(sentence)).transpose()
    }
}

/// Cuts entries, of which one more than the limit was asked for, to the limit; answers the last one if there are more behind it.
pub(super) fn cut<T>(entries: &mut Vec<T>, limit: usize) -> Option<&T> {
    let more = entries.len() > limit;
    entries.truncate(limit);
    entries.last().filter(|_| more)
}
