//! JSON over several lines, exactly as it was sent: members keep their order, numbers their digits.

use super::paper::clean_lines;

/// The JSON text over several lines. What is no JSON comes out somehow, but whole.
pub fn pretty(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.trim();
    while let Some(character) = rest.chars().next() {
        let mut length = character.len_utf8();
        match character {
            '"' => {
                length = string_length(rest);
                text.push_str(&rest[..length]);
            }
            '{' | '[' if is_closed_at_once(rest) => {
                length = rest.find(['}', ']']).map_or(length, |end| end + 1);
                text.extend([character, if character == '{' { '}' } else { ']' }]);
            }
            '{' | '[' => {
                depth += 1;
                text.push(character);
                break_line(&mut text, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut text, depth);
                text.push(character);
            }
            ',' => {
                text.push(',');
                break_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            ' ' | '\t' | '\n' | '\r' => {}
            other => text.push(other),
        }
        rest = &rest[length..];
    }
    clean_lines(&text)
}

fn break_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Bytes of the string that the text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// Whether nothing stands between this bracket and the next.
fn is_closed_at_once(text: &str) -> bool {
    text[1..].trim_start().starts_with(['}', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_its_order_and_its_digits() {
        let json =
            r#"{"z":1.50,"a":{"big":12345678901234567890123,"list":[1,{ }],"none":[ ]},"s":"a\"{,:}"}"#;
        let expected = "{\n  \"z\": 1.50,\n  \"a\": {\n    \"big\": 12345678901234567890123,\n    \"list\": [\n      1,\n      {}\n    ],\n    \"none\": []\n  },\n  \"s\": \"a\\\"{,:}\"\n}";
        assert_eq!(pretty(json), expected);
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&pretty(json)), value(json));
    }

    #[test]
    fn what_is_no_json_comes_out_whole() {
        for (text, expected) in
            [("plain", "plain"), ("\"open", "\"open"), ("{]", "{}"), ("", ""), ("\u{1b}文", "\u{fffd}文")]
        {
            assert_eq!(pretty(text), expected);
        }
    }
}
