//! Single values: from what was typed to what it means, or a complaint.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::fault::{Complaint, quoted};
use super::written::{Node, Value};
use crate::endpoint::ladder::{format_duration, parse_duration};

/// Text that one function understands and one sentence describes.
pub(super) fn parsed<T>(
    parse: impl FnOnce(&str) -> Option<T>,
    allowed: impl Into<String>,
) -> impl FnOnce(&Node) -> Result<T, Complaint> {
    let allowed = allowed.into();
    move |node| {
        let text = node.text()?;
        parse(text).ok_or_else(|| Complaint::new(format!("{} is not understood", quoted(text)), allowed))
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Result<bool, Complaint> {
    match &node.value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Untyped(text) => text.parse().map_err(|_| {
            Complaint::new(format!("{} is neither true nor false", quoted(text)), "true, false")
        }),
        Value::Text(_)
        | Value::Integer(_)
        | Value::Decimal(_)
        | Value::List(_)
        | Value::Table(_)
        | Value::Other(_) => Err(node.wrong_kind("true, false")),
    }
}

/// A whole number within bounds.
pub(super) fn integer<T>(bounds: RangeInclusive<T>) -> impl FnOnce(&Node) -> Result<T, Complaint>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    move |node| {
        let allowed = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        let written = match &node.value {
            Value::Integer(integer) => Some(*integer),
            Value::Untyped(text) => text.trim().parse::<i64>().ok(),
            Value::Text(_)
            | Value::Decimal(_)
            | Value::Boolean(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Other(_) => None,
        };
        let Some(number) = written else { return Err(node.wrong_kind(&allowed)) };
        T::try_from(number)
            .ok()
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| Complaint::new(format!("is {number}"), allowed))
    }
}

/// A number within bounds, with or without a decimal point.
pub(super) fn decimal(
    bounds: RangeInclusive<f64>,
    what: &'static str,
) -> impl Fn(&Node) -> Result<f64, Complaint> {
    move |node| {
        let allowed = || format!("{what} from {} to {}", bounds.start(), bounds.end());
        let number = match &node.value {
            Value::Decimal(number) => *number,
            Value::Integer(integer) => f64::from(i32::try_from(*integer).unwrap_or(i32::MAX)),
            Value::Untyped(text) => text.trim().parse().unwrap_or(f64::NAN),
            Value::Text(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                return Err(node.wrong_kind(&allowed()));
            }
        };
        if bounds.contains(&number) {
            Ok(number)
        } else {
            Err(Complaint::new(format!("is {number}"), allowed()))
        }
    }
}

/// A duration within bounds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&Node) -> Result<Duration, Complaint> {
    move |node| {
        let allowed = || {
            let (from, to) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
            format!("a whole number and one of ms, s, m, h, d, from \"{from}\" to \"{to}\"")
        };
        let text = node.text().map_err(|complaint| Complaint::new(complaint.problem, allowed()))?;
        let duration = parse_duration(text.trim())
            .map_err(|_| Complaint::new(format!("{} is no duration", quoted(text)), allowed()))?;
        if bounds.contains(&duration) {
            return Ok(duration);
        }
        let side = if duration < *bounds.start() { "short" } else { "long" };
        Err(Complaint::new(format!("{} is too {side}", quoted(text)), allowed()))
    }
}

/// A size within bounds: a number of bytes, or a whole number with `KiB` or `MiB`.
pub(super) fn bytes(bounds: RangeInclusive<usize>) -> impl FnOnce(&Node) -> Result<usize, Complaint> {
    move |node| {
        let allowed = format!(
            "a size from {} to {}, as in \"1MiB\", \"512KiB\" or 4096 (bytes)",
            format_bytes(*bounds.start()),
            format_bytes(*bounds.end())
        );
        let (written, size) = match &node.value {
            Value::Integer(integer) => (integer.to_string(), usize::try_from(*integer).ok()),
            Value::Text(text) | Value::Untyped(text) => (quoted(text), parse_bytes(text.trim())),
            Value::Decimal(_) | Value::Boolean(_) | Value::List(_) | Value::Table(_) | Value::Other(_) => {
                return Err(node.wrong_kind(&allowed));
            }
        };
        match size {
            Some(size) if bounds.contains(&size) => Ok(size),
            Some(_) => Err(Complaint::new(format!("{written} is out of bounds"), allowed)),
            None => Err(Complaint::new(format!("{written} is no size"), allowed)),
        }
    }
}

fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(factor)
}

/// Writes a size in the largest unit that holds it exactly.
pub fn format_bytes(bytes: usize) -> String {
    match bytes {
        0 => "0B".to_owned(),
        _ if bytes.is_multiple_of(1024 * 1024) => format!("{}MiB", bytes / (1024 * 1024)),
        _ if bytes.is_multiple_of(1024) => format!("{}KiB", bytes / 1024),
        _ => format!("{bytes}B"),
    }
}

/// The 32 bytes that 64 hexadecimal digits stand for.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::fault::Place;

    fn node(value: Value) -> Node {
        Node { place: Place::BuiltIn, value }
    }

    fn typed(text: &str) -> Node {
        node(Value::Text(text.to_owned()))
    }

    fn untyped(text: &str) -> Node {
        node(Value::Untyped(text.to_owned()))
    }

    #[test]
    fn numbers_stay_within_their_bounds() {
        let read = |node: &Node| integer::<u32>(1..=10)(node);
        for good in [node(Value::Integer(1)), node(Value::Integer(10)), untyped("5"), untyped(" 5 ")] {
            assert!(read(&good).is_ok());
        }
        for (bad, problem) in [
            (node(Value::Integer(0)), "is 0"),
            (node(Value::Integer(-1)), "is -1"),
            (node(Value::Integer(i64::MAX)), "is 9223372036854775807"),
            (untyped("11"), "is 11"),
            (untyped("x"), "is text"),
            (untyped(""), "is text"),
            (typed("5"), "is text"),
            (node(Value::Decimal(1.5)), "is a decimal number"),
        ] {
            assert_eq!(read(&bad).unwrap_err().problem, problem);
        }
    }

    #[test]
    fn sizes_are_whole_numbers_with_binary_units() {
        let read = |node: &Node| bytes(1..=1024 * 1024)(node);
        for (good, size) in
            [("1", 1), ("512KiB", 512 * 1024), ("1MiB", 1024 * 1024), ("1048576", 1024 * 1024), ("7B", 7)]
        {
            assert_eq!(read(&typed(good)).unwrap(), size);
            assert_eq!(read(&untyped(good)).unwrap(), size);
        }
        for bad in
            ["", "0", "2MiB", "1MB", "1 MiB", "-1", "1.5MiB", "99999999999999999999", "18014398509481984KiB"]
        {
            assert!(read(&typed(bad)).is_err(), "{bad}");
        }
        assert!(read(&node(Value::Integer(-1))).is_err() && read(&node(Value::Boolean(true))).is_err());
        for text in ["1MiB", "512KiB", "1000B"] {
            assert_eq!(format_bytes(parse_bytes(text).unwrap()), text);
        }
    }

    #[test]
    fn durations_say_in_which_direction_they_are_wrong() {
        let read = duration(Duration::from_secs(1)..=Duration::from_mins(1));
        for (text, problem) in [
            ("0s", "\"0s\" is too short"),
            ("2m", "\"2m\" is too long"),
            ("-1s", "\"-1s\" is no duration"),
            ("10 parsecs", "\"10 parsecs\" is no duration"),
            ("", "\"\" is no duration"),
        ] {
            let complaint = read(&typed(text)).unwrap_err();
            assert_eq!(complaint.problem, problem);
            assert!(complaint.allowed.ends_with("from \"1s\" to \"1m\""), "{}", complaint.allowed);
        }
        assert_eq!(read(&untyped("5s")).unwrap(), Duration::from_secs(5));
        assert_eq!(read(&node(Value::Integer(5))).unwrap_err().problem, "is a number");
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        assert_eq!(sha256(&"aB".repeat(32)), Some([0xab; 32]));
        for bad in ["", &"a".repeat(63), &"a".repeat(65), &"g".repeat(64), &"ä".repeat(32), &"+a".repeat(32)]
        {
            assert_eq!(sha256(bad), None, "{bad}");
        }
    }
}
