//! What can go wrong between a command and the server, and the exit code that tells scripts which it was.

use std::fmt;
use std::process::ExitCode;

use serde::Deserialize;

use super::paper::clean;

/// What every client command ends with, for `--help`.
pub const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or refused by the server; 2 the command line is wrong; 3 there is no such thing; \
4 its state does not allow it, or somebody was faster; 5 the server cannot be reached or cannot serve now; 6 the token is missing, \
unknown, or lacks the role.";

/// Why a command ended before it was done.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// No answer came.
    #[error("{server} cannot be reached: {why}")]
    Unreachable {
        /// Which server.
        server: String,
        /// In whose words: the operating system's or the HTTP library's.
        why: String,
    },
    /// The server refused, with a problem document.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// Something answered, but not as a Redial of this version does.
    #[error("{0}")]
    NotUnderstood(String),
    /// What was typed makes no sense; the sentence says what would.
    #[error("{0}")]
    Usage(String),
    /// What was named is not there; the sentence says where it was looked for.
    #[error("{0}")]
    Missing(String),
    /// The person who was asked did not agree.
    #[error("nothing was done")]
    Declined,
}

/// The result of talking to the server.
pub type Result<T> = std::result::Result<T, Trouble>;

/// A refusal of the server.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    problem: Problem,
    document: String,
}

/// A problem document (RFC 9457), as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    code: String,
    title: String,
    detail: String,
    faults: Vec<Fault>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fault {
    pointer: String,
    code: String,
    detail: String,
}

impl Refusal {
    /// The refusal in an answer with this status and body. What is no problem document is shown as it came.
    pub fn new(status: u16, body: String) -> Self {
        let problem = serde_json::from_str(&body)
            .unwrap_or_else(|_| Problem { detail: excerpt(&body), ..Problem::default() });
        Self { status, problem, document: body }
    }

    /// The document, unchanged.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Whether the path itself is not known, not what it names.
    fn is_about_the_path(&self) -> bool {
        self.status == 404 && matches!(self.problem.code.as_str(), "" | "not_found")
    }

    fn exit_code(&self) -> u8 {
        match self.status {
            401 | 403 => 6,
            404 if !self.is_about_the_path() => 3,
            409 | 412 => 4,
            502..=504 => 5,
            _ => 1,
        }
    }
}

/// The sentence, the code, and every fault with its place.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { code, title, detail, faults } = &self.problem;
        // The detail of a document with faults is all of them in one line.
        let sentence = match faults.len() {
            0 if detail.is_empty() => title.clone(),
            0 => detail.clone(),
            1 => "the server finds a fault".to_owned(),
            count => format!("the server finds {count} faults"),
        };
        let code = if code.is_empty() { self.status.to_string() } else { format!("{}, {code}", self.status) };
        write!(f, "{} ({})", clean(&sentence), clean(&code))?;
        for fault in faults {
            let pointer = if fault.pointer.is_empty() { "the document" } else { &fault.pointer };
            write!(f, "\n  {}: {} ({})", clean(pointer), clean(&fault.detail), clean(&fault.code))?;
        }
        if self.is_about_the_path() {
            write!(f, "\n  the server may be older than this program, or another program")?;
        }
        Ok(())
    }
}

/// The beginning of a body that is no document.
fn excerpt(body: &str) -> String {
    let body = body.trim();
    if body.is_empty() { "the answer has no body".to_owned() } else { body.chars().take(200).collect() }
}

impl Trouble {
    /// An answer lacks what a Redial's would have.
    pub fn no_member(member: &str) -> Self {
        Self::NotUnderstood(format!("the server's answer has no member {member:?}, as a Redial's would"))
    }

    /// Whether the same request may succeed a little later.
    pub fn may_pass(&self) -> bool {
        self.exit_code() == 5
    }

    /// The exit code as a number.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 5,
            Self::Refused(refusal) => refusal.exit_code(),
            Self::NotUnderstood(_) | Self::Declined => 1,
            Self::Usage(_) => 2,
            Self::Missing(_) => 3,
        }
    }
}

/// The exit code of a command that ended with this error, whatever it was.
pub fn exit_code(error: &anyhow::Error) -> ExitCode {
    error.downcast_ref::<Trouble>().map_or(ExitCode::FAILURE, |trouble| ExitCode::from(trouble.exit_code()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_what_kind_of_refusal_it_was() {
        let known = r#"{"code":"unknown_call","detail":"there is no call 7"}"#;
        for (status, body, expected) in [
            (401, known, 6),
            (403, known, 6),
            (404, known, 3),
            (404, r#"{"code":"not_found"}"#, 1),
            (404, "<html>", 1),
            (409, known, 4),
            (412, known, 4),
            (422, known, 1),
            (500, known, 1),
            (503, known, 5),
        ] {
            assert_eq!(Refusal::new(status, body.to_owned()).exit_code(), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_is_told_with_every_fault_and_its_place() {
        let body = r#"{"code":"invalid_document","detail":"this; and that","faults":[
            {"pointer":"/request/path","code":"missing_field","detail":"is missing"},
            {"pointer":"","code":"wrong_type","detail":"must be \u001b[31man object"}]}"#;
        let told = Refusal::new(422, body.to_owned()).to_string();
        assert_eq!(
            told,
            "the server finds 2 faults (422, invalid_document)\n  /request/path: is missing (missing_field)\n  \
             the document: must be \u{fffd}[31man object (wrong_type)"
        );
    }
}
