//! "Did you mean": the name that was probably meant.

/// Longer texts are no typing errors of a key.
const CHARS_MAX: usize = 40;

/// The candidate that is most like `text`, if one is so like it that it was probably meant.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = text.chars().count();
    if length > CHARS_MAX {
        return None;
    }
    let alike = |candidate: &'a str| (distance(&text.to_lowercase(), candidate), candidate);
    let (edits, candidate) = candidates.into_iter().map(alike).min()?;
    (edits <= 1 + length / 4).then_some(candidate)
}

/// How many letters have to be put in, taken out or changed to make one text of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (column, candidate) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *candidate);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (one, other, edits) in
            [("", "", 0), ("a", "", 1), ("url", "ulr", 2), ("ladder", "lader", 1), ("x", "listen", 6)]
        {
            assert_eq!(distance(one, other), edits, "{one} {other}");
        }
    }

    #[test]
    fn a_typing_error_finds_its_key_and_a_foreign_word_none() {
        let keys = ["base_url", "ladder", "timeout", "lane"];
        for (typed, meant) in [
            ("base_ur", Some("base_url")),
            ("baseurl", Some("base_url")),
            ("Ladder", Some("ladder")),
            ("lader", Some("ladder")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, keys), meant, "{typed}");
        }
        assert_eq!(nearest(&"x".repeat(1_000_000), keys), None);
    }
}
