//! Error sentences without what differs from call to call, so that a thousand failures of one kind are one group.
//!
//! Numbers become `<n>`, identifiers `<id>`, quoted text `<text>`. An HTTP status stays: it is what tells the groups apart.

use crate::limits::NAME_BYTES_MAX;

/// Letters and digits that hang together count as an identifier from this length on, if enough of them are digits.
const OPAQUE_CHARS_MIN: usize = 16;
/// How many digits make a long word an identifier.
const OPAQUE_DIGITS_MIN: usize = 3;
/// Hexadecimal digits count as an identifier from this length on.
const HEX_CHARS_MIN: usize = 8;
/// Words after which a number from 100 to 599 is an HTTP status.
const BEFORE_A_STATUS: &[&str] = &["answered", "status", "http", "code"];

/// The group that an error sentence belongs to; at most 255 bytes.
pub fn error_group(error: &str) -> String {
    let mut group = Group::default();
    let mut rest = error;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => group.quoted(rest, first),
            '\u{201c}' | '\u{2018}' | '「' | '『' | '《' | '«' => group.between(rest, first),
            _ if first.is_ascii_alphanumeric() => group.word(rest),
            _ if first.is_whitespace() || first.is_control() => group.space(first),
            _ => group.other(first),
        };
        rest = &rest[length..];
    }
    let text = group.text.trim_end();
    text[..text.floor_char_boundary(NAME_BYTES_MAX)].trim_end().to_owned()
}

/// A group in the making.
#[derive(Default)]
struct Group {
    text: String,
    /// The word before, in lower case.
    before: String,
}

/// Each method appends what stands for the beginning of the rest, and answers how many bytes that was.
impl Group {
    fn space(&mut self, space: char) -> usize {
        if !self.text.is_empty() && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        space.len_utf8()
    }

    fn other(&mut self, first: char) -> usize {
        self.text.push(first);
        first.len_utf8()
    }

    /// A quote in the middle of a word is an apostrophe, and one that nobody closes is just a character.
    fn quoted(&mut self, rest: &str, quote: char) -> usize {
        let inside_a_word = self.text.ends_with(char::is_alphanumeric);
        let closing = rest[1..].char_indices().find(|(place, letter)| {
            let after = rest[1 + place + letter.len_utf8()..].chars().next();
            *letter == quote && (quote == '"' || !after.is_some_and(char::is_alphanumeric))
        });
        if let Some((place, _)) = closing.filter(|_| !inside_a_word || quote == '"') {
            self.text.push_str("<text>");
            return place + 2;
        }
        self.text.push(quote);
        1
    }

    /// Quotation marks that tell which end they stand at; one that nobody closes is just a character.
    fn between(&mut self, rest: &str, opening: char) -> usize {
        let closing = match opening {
            '\u{201c}' => '\u{201d}',
            '\u{2018}' => '\u{2019}',
            '「' => '」',
            '『' => '』',
            '《' => '》',
            _ => '»',
        };
        match rest.find(closing) {
            Some(place) => {
                self.text.push_str("<text>");
                place + closing.len_utf8()
            }
            None => self.other(opening),
        }
    }

    fn word(&mut self, rest: &str) -> usize {
        if let Some(length) = identifier(rest) {
            self.text.push_str("<id>");
            self.before.clear();
            return length;
        }
        let letters = run(rest, |byte| byte.is_ascii_alphabetic());
        if letters > 0 {
            self.text.push_str(&rest[..letters]);
            self.before = rest[..letters].to_ascii_lowercase();
            return letters;
        }
        let length = number(rest);
        let is_status = BEFORE_A_STATUS.contains(&self.before.as_str())
            && rest[..length].parse().is_ok_and(|status: u16| (100..600).contains(&status))
            && length == 3;
        self.text.push_str(if is_status { &rest[..length] } else { "<n>" });
        // "HTTP/1.1 503": the version stands between the word and the status.
        if is_status || !self.text.ends_with("/<n>") {
            self.before.clear();
        }
        length
    }
}

fn run(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|byte| belongs(*byte)).count()
}

/// The length of a number: digits, and single signs between them, as in amounts, addresses, dates and times.
fn number(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = run(text, |byte| byte.is_ascii_digit());
    while let (Some(sign), Some(next)) = (bytes.get(length), bytes.get(length + 1)) {
        if !(b".,:-".contains(sign) && next.is_ascii_digit()) {
            break;
        }
        length += 1 + run(&text[length + 1..], |byte| byte.is_ascii_digit());
    }
    length
}

/// The length of the identifier that a text begins with: a UUID, a long hexadecimal number, or a long word with many digits.
fn identifier(text: &str) -> Option<usize> {
    let is_uuid = |text: &str| uuid::Uuid::try_parse(text).is_ok();
    let ends_at = |length: usize| !text.as_bytes().get(length).is_some_and(u8::is_ascii_alphanumeric);
    if text.get(..36).is_some_and(is_uuid) && ends_at(36) {
        return Some(36);
    }
    let length = run(text, |byte| byte.is_ascii_alphanumeric());
    let word = &text[..length];
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (word.len() > hex.len() || hex.len() >= HEX_CHARS_MIN)
        && !hex.is_empty();
    let is_hex = is_hex && digits > 0 && digits < length;
    let is_opaque = length >= OPAQUE_CHARS_MIN && digits >= OPAQUE_DIGITS_MIN && digits < length;
    (is_hex || is_opaque).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_differs_from_call_to_call_is_replaced() {
        for (error, group) in [
            ("", ""),
            ("the third party answered 422", "the third party answered 422"),
            ("the third party answered 503", "the third party answered 503"),
            ("HTTP/1.1 503 after 3 tries", "HTTP/<n> 503 after <n> tries"),
            ("status: 404", "status: 404"),
            ("answered 1503", "answered <n>"),
            ("order 1234 is unknown", "order <n> is unknown"),
            ("order-1234 is unknown", "order-<n> is unknown"),
            ("timeout: no answer within 20.5s", "timeout: no answer within <n>s"),
            ("connect: tcp connect 127.0.0.1:40123 refused", "connect: tcp connect <n> refused"),
            ("user \"Ada Lovelace\" has no phone", "user <text> has no phone"),
            ("field 'to' is wrong, field `body` too", "field <text> is wrong, field <text> too"),
            ("it doesn't know 'x'", "it doesn't know <text>"),
            ("an open \" quote", "an open \" quote"),
            ("用户“张三”不存在", "用户<text>不存在"),
            ("订单「A-1」已关闭，见《说明》", "订单<text>已关闭，见<text>"),
            ("le client «Dupont» n’existe pas", "le client <text> n’existe pas"),
            ("没有结束的“引号", "没有结束的“引号"),
            ("call 0197a2b4-7c1e-7d0a-9f5e-2f6d1c3b4a59 lost", "call <id> lost"),
            ("trace deadbeef01 ended", "trace <id> ended"),
            ("at 0x7ffe12 it broke", "at <id> it broke"),
            ("facade is a word, and so is deadbeef", "facade is a word, and so is deadbeef"),
            ("key AKIA1234567890ABCD refused", "key <id> refused"),
            ("since 2026-11-21T10:00:00.123Z", "since <n>T<n>Z"),
            ("  many \t\n blanks  ", "many blanks"),
            ("余额不足: 账户 8613800 需要 5.00 元", "余额不足: 账户 <n> 需要 <n> 元"),
        ] {
            assert_eq!(error_group(error), group, "{error}");
        }
    }

    #[test]
    fn a_group_is_as_long_as_a_name_at_most() {
        let long = error_group(&"déjà vu ".repeat(200));
        assert!(long.len() <= NAME_BYTES_MAX && long.len() > NAME_BYTES_MAX - 8, "{long}");
    }

    proptest! {
        #[test]
        fn numbers_alone_never_make_a_new_group(error in "\\PC{0,40}", one in 0_u32.., other in 0_u32..) {
            let group = |number: u32| error_group(&format!("{error} waited {number} ms"));
            prop_assert_eq!(group(one), group(other));
        }
    }
}
