//! What takes input from strangers, and what is promised of it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redial::api::cursor::Seal;
use redial::call::attempt::Answer;
use redial::call::{ErrorKind, Outcome, Publisher, RequestPath, Ticket, Verdict};
use redial::clock::Timestamp;
use redial::config::{self, Settings, Sources};
use redial::delay::rabbitmq::wire;
use redial::endpoint::{HostPattern, PathTemplate, Registry, Reporting, Rule, Rules, Template, Variables};
use redial::intake::submission::{self, Envelope};
use redial::invoker::guard::{Reach, is_public, is_refused_literal};
use redial::limits::{
    BUNDLE_TICKETS_READ_MAX, CONFIGURATION_STACK_BYTES, RETRY_AFTER_MAX, TEMPLATE_OUTPUT_BYTES_MAX,
};
use redial::policy::{judge, retry_after};

use super::Target;

const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "true",
    "null",
    "{}",
    "[]",
    "\"\\ud800\"",
    "\\u0000",
    "1E+99",
    "\"a\":1,",
];
/// A day on which nothing else happens; what is read must not depend on the day of the test.
const NOW: &str = "2026-01-01T00:00:00Z";

/// The endpoints that submissions and messages are for.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let text = r#"
        [endpoints.sms]
        base_url = "http://127.0.0.1:9"
        [endpoints.sms.callback]
        signature = { header = "x-signature", secret = "a-secret-of-the-test", prefix = "sha256=" }
        call = "{{ body.order }}"
        rules = [{ when = "body.state == 'delivered'", answer = "done" }, { when = "headers['x'] == 'y'", answer = "failed" }]
        [endpoints.mail]
        allowed_hosts = ["*.example.com"]
    "#;
    config::load(&Sources::of_text(text)).unwrap_or_else(|faults| panic!("{faults}")).settings
});

fn now() -> Timestamp {
    Timestamp::parse_rfc3339(NOW).unwrap()
}

pub(super) static SUBMISSION: Target = Target {
    name: "submission",
    words: &[
        "\"endpoint\":\"sms\"",
        "\"request\":{}",
        "\"path\":\"/\"",
        "\"body_base64\":\"AA==\"",
        "\"headers\":{\"a\":\"b\"}",
        "\"entity\":{\"key\":\"k\",\"version\":9}",
        "\"not_before\":\"9999-12-31T23:59:59Z\"",
        "\"tags\":{\"a\":\"b\"}",
        "{\"a\":",
        "[[[[",
        "\"url\":\"http://[::1]/\"",
        "\\ud83d",
        "1e400",
        "\"",
        ",",
        "}",
        "null",
        "..%2f",
    ],
    run: |input| {
        let registry = Registry::from(SETTINGS.endpoints.clone());
        let envelope = || Envelope {
            publisher: Publisher::anonymous(),
            fallback_key: None,
            trace_parent: submission::trace_parent(&String::from_utf8_lossy(input)),
            now: now(),
        };
        match submission::read(input, envelope(), &registry) {
            Ok((accepted, _)) => {
                let again = submission::read(input, envelope(), &registry).unwrap().0;
                assert_eq!(accepted.fingerprint, again.fingerprint, "the same document is the same");
                assert!(accepted.request.path.as_str().starts_with(['/', 'h']), "{accepted:?}");
            }
            Err(refused) => assert!(!refused.error.detail().is_empty(), "{refused:?}"),
        }
    },
};

pub(super) static TICKETS: Target = Target {
    name: "tickets",
    words: JSON,
    run: |input| {
        let read = wire::read(input);
        assert!(read.tickets.len() <= BUNDLE_TICKETS_READ_MAX);
        assert!(read.unreadable > 0 || !read.tickets.is_empty(), "nothing gets lost without a word");
        let again = wire::read(&wire::write(read.tickets.iter()));
        let same = |one: &Ticket, other: &Ticket| (one.call, one.attempt) == (other.call, other.attempt);
        assert!(read.tickets.is_empty() || again.unreadable == 0);
        assert!(read.tickets.iter().zip(&again.tickets).all(|(one, other)| same(one, other)));
    },
};

pub(super) static CONFIGURATION: Target = Target {
    name: "configuration",
    words: &[
        "[endpoints.sms]\n",
        "[[",
        "=",
        "\"",
        "'''",
        "{",
        "}",
        "ladder = [\"1s x99999999999\"]\n",
        "\"1s x2\"",
        "\"10000000d\"",
        "\"${HOME\"",
        "\"$${\"",
        "\"file:/\"",
        "\"16EiB\"",
        "rules = [{ when = \"",
        "providers",
        "timeout = { overall = \"",
        "rate_limit = \"1/s\"\n",
        "nan",
        "1979-05-27",
        "#",
        "\n",
        "\"::\"",
    ],
    run: |input| {
        let text = String::from_utf8_lossy(input);
        if let Err(faults) = config::load(&Sources::of_text(text)) {
            assert!(faults.iter().next().is_some() && !faults.to_string().is_empty());
        }
    },
};

pub(super) static RETRY_AFTER: Target = Target {
    name: "retry_after",
    words: &[
        "120",
        "-",
        "+",
        ".",
        " ",
        "GMT",
        "Sun, ",
        "Sunday, ",
        "Nov",
        "1994",
        "08:49:37",
        "60",
        "99999999999999999999",
        "\t",
        "²",
    ],
    run: |input| {
        let text = String::from_utf8_lossy(input);
        for pause in
            [retry_after::parse(std::iter::once(&*text), now()), retry_after::parse(text.split('\n'), now())]
        {
            assert!(pause.is_none_or(|pause| !pause.is_zero() && pause <= RETRY_AFTER_MAX), "{pause:?}");
        }
    },
};

pub(super) static CONDITION: Target = Target {
    name: "condition",
    words: &[
        "status",
        "body",
        "headers",
        "error",
        "elapsed_ms",
        "body.a[0]",
        "==",
        "&&",
        "||",
        "!",
        "(",
        ")",
        "[",
        "]",
        "{",
        "?",
        ":",
        "in",
        "matches('(a+)+$')",
        ".contains('",
        "size(",
        "int(",
        "double(",
        "string(",
        "type(",
        "/ 0",
        "% 0",
        "* 9223372036854775807",
        "-9223372036854775808",
        ".map(x, ",
        ".exists(x, ",
        "b'\\xff'",
        "r'",
        "'''",
        "timestamp('",
        "0x",
        "1u",
        "-",
        "has(body.",
    ],
    run: |input| {
        let text = String::from_utf8_lossy(input);
        let answers: Vec<_> =
            Rule::about_answers(&text, Verdict::Success).into_iter().chain(simple_rule()).collect();
        let rules = Rules::new("fuzz", answers);
        for outcome in outcomes() {
            let (verdict, ruling) = judge(&outcome, Duration::from_millis(3), &rules);
            assert!(ruling.rule.is_none_or(|rule| rule.starts_with("fuzz[")), "{verdict:?}");
        }
        let messages: Vec<_> = Rule::about_messages(&text, Verdict::Success).into_iter().collect();
        // The condition is the message, too.
        let _ = Rules::new("fuzz", messages).decide_message(input, &[("x".to_owned(), text.into_owned())]);
    },
};

fn simple_rule() -> Option<Rule<Verdict>> {
    Rule::about_answers("status == 200", Verdict::Pending).ok()
}

fn outcomes() -> [Outcome; 3] {
    let answer = |body: &'static str| {
        Outcome::Answered(Answer {
            status: 200,
            headers: vec![("x".to_owned(), "y".to_owned()), ("x".to_owned(), "z".to_owned())],
            body: body.into(),
            body_bytes: body.len() as u64,
        })
    };
    [
        answer(
            r#"{"a":[1,2.5,null,"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!",{"b":-9223372036854775808}],"u":18446744073709551615}"#,
        ),
        answer("no json"),
        Outcome::Failed { kind: ErrorKind::Timeout, detail: String::new() },
    ]
}

pub(super) static TEMPLATE: Target = Target {
    name: "template",
    words: &[
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "{{ body }}",
        "{{ body.a | tojson }}",
        "for x in body.a",
        "endfor",
        "if",
        "endif",
        "set x =",
        "| join('",
        "| replace('a', '",
        "* 999999999999",
        "** 99",
        "~",
        "| indent(999999999999)",
        "| round(99999)",
        "| batch(0)",
        "| slice(0)",
        "range(1, 99999999)",
        "[::0]",
        "[-1:]",
        "| sort",
        "| int",
        "// 0",
        "% 0",
        "loop.index",
        "recursive",
        "namespace()",
        "macro",
        "include 'x'",
        "| urlencode",
        "| safe",
        "raw",
        "headers['x']",
        "idempotency_key",
        "'",
        "\"",
    ],
    run: |input| {
        let text = String::from_utf8_lossy(input);
        let message = Variables::of_message(br#"{"a":[1,"b",null,{"c":1.5}],"order":"o-1"}"#, &[]);
        let itself = Variables::of_message(input, &[("x".to_owned(), text.clone().into_owned())]);
        let (template, path) =
            as_configured(|| (Template::parse_for_message(&text), PathTemplate::parse(&text)));
        for variables in [&message, &itself] {
            if let Ok(Ok(filled)) = template.as_ref().map(|template| template.render(variables)) {
                assert!(filled.len() <= TEMPLATE_OUTPUT_BYTES_MAX);
            }
            if let Ok(Ok(path)) = path.as_ref().map(|path| path.render(variables)) {
                assert!(path.as_str().starts_with('/'), "{path:?}");
            }
        }
    },
};

/// Reads on the stack that configurations are read on: templates come from nowhere else.
fn as_configured<T: Send>(read: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(CONFIGURATION_STACK_BYTES);
        builder.spawn_scoped(scope, read).unwrap().join().unwrap()
    })
}

pub(super) static CURSOR: Target = Target {
    name: "cursor",
    words: &["A", "_", "-", "=", "==", "/", "+", "AAAAAAAAAAAAAAAA", "%3D"],
    run: |input| {
        let (seal, text) = (Seal::new([]), String::from_utf8_lossy(input));
        if let Some(call) = seal.read(&text, "status=review") {
            assert_eq!(seal.write(call, "status=review"), text, "one place has one cursor");
        }
        if let Some(place) = seal.open::<24>(&text, "") {
            assert_eq!(seal.close(&place, ""), text);
        }
    },
};

pub(super) static ADDRESS: Target = Target {
    name: "address",
    words: &[
        "http://",
        "https://",
        "127.0.0.1",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "[::1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a00:1]",
        "localhost",
        "@",
        ":",
        "/",
        "?",
        "#",
        "%2e",
        "..",
        "\\",
        "*.",
        "xn--",
        "。",
        "①",
        ":65536",
        "a.example.com",
    ],
    run: |input| {
        let text = String::from_utf8_lossy(input);
        if let Ok(url) = url::Url::parse(&text) {
            let literal = match url.host() {
                Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
                Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
                Some(url::Host::Domain(_)) | None => None,
            };
            let refused = is_refused_literal(&url, Reach::Public);
            assert!(literal.is_none_or(|address| refused != is_public(address)), "{url}");
        }
        if let Ok(path) = RequestPath::parse_either(&text) {
            let whole = path.url().is_some();
            assert!(whole || path.as_str().starts_with('/'), "{path:?}");
            assert!(!path.as_str().contains(['\r', '\n', ' ']), "{path:?}");
        }
        if let (Ok(pattern), Ok(url)) = (HostPattern::parse(&text), url::Url::parse("http://10.0.0.1/")) {
            // A name allows no address.
            assert!(!pattern.holds(&url) || pattern.address().is_some(), "{pattern:?}");
        }
        if let Some((bytes, _)) = input.split_first_chunk::<16>() {
            let address = Ipv6Addr::from(*bytes);
            let inner = address.to_ipv4_mapped();
            assert!(
                inner.is_none_or(|inner| is_public(inner.into()) == is_public(address.into())),
                "{address}"
            );
        }
    },
};

/// A header's value in the first line, then the body.
pub(super) static SIGNATURE: Target = Target {
    name: "signature",
    words: &[
        "sha256=",
        "SHA256=",
        "\n",
        "00",
        "ff",
        "Bearer ",
        "{\"order\":\"k\",\"state\":\"delivered\"}",
        "=",
        "A",
    ],
    run: |input| {
        let reporting = reporting();
        let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
        let (given, body) = (&input[..end], input.get(end + 1..).unwrap_or_default());
        let right = format!("sha256={}", signature(body));
        if reporting.is_proved(|_| Some(given.to_vec()), body) {
            assert!(given.eq_ignore_ascii_case(right.as_bytes()), "{}", given.escape_ascii());
        }
        assert!(
            reporting.is_proved(|_| Some(right.clone().into_bytes()), body),
            "the right one always holds"
        );
        assert!(!reporting.is_proved(|_| None, body));
        let headers = [("x".to_owned(), String::from_utf8_lossy(given).into_owned())];
        let _ = reporting.read(body, &headers);
        if let Err(sentence) = reporting.meant(body, &headers) {
            assert!(!sentence.is_empty());
        }
    },
};

fn reporting() -> Reporting {
    static REPORTING: LazyLock<Arc<Reporting>> = LazyLock::new(|| {
        let registry = Registry::from(SETTINGS.endpoints.clone());
        let endpoint = registry.get(&redial::call::EndpointName::parse("sms").unwrap()).unwrap();
        Arc::new(endpoint.judging.reporting.clone().unwrap())
    });
    Reporting::clone(&REPORTING)
}

/// HMAC-SHA256 in hexadecimal digits.
fn signature(body: &[u8]) -> String {
    use hmac::{Hmac, Mac as _};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"a-secret-of-the-test").unwrap();
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) static ALL: [&Target; 9] = [
    &ADDRESS,
    &CONDITION,
    &CONFIGURATION,
    &CURSOR,
    &RETRY_AFTER,
    &SIGNATURE,
    &SUBMISSION,
    &TEMPLATE,
    &TICKETS,
];
