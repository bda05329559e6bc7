//! What is read from a file, from standard input or from the command line itself, and questions to the person in front of it.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _};

use serde_json::value::RawValue;

use super::trouble::{Result, Trouble};

/// Longest input, in bytes: more than any server takes as one document.
const INPUT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The bytes of a file; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is too long.
pub fn read_bytes(path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == "-" {
        io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    match read {
        Err(error) => Err(Trouble::Usage(format!("{path} cannot be read: {error}"))),
        Ok(length) if length as u64 > INPUT_BYTES_MAX => {
            Err(Trouble::Usage(format!("{path} is longer than 64 MiB")))
        }
        Ok(_) => Ok(bytes),
    }
}

/// The text of a file; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is not UTF-8.
pub fn read_text(path: &str) -> Result<String> {
    String::from_utf8(read_bytes(path)?).map_err(|_| Trouble::Usage(format!("{path} is not UTF-8")))
}

/// What an option's value stands for: `@file` and `@-` are read, anything else is meant as it is.
///
/// # Errors
/// The file cannot be read.
pub fn value(typed: &str) -> Result<Vec<u8>> {
    match typed.strip_prefix('@') {
        Some(path) => read_bytes(path),
        None => Ok(typed.as_bytes().to_vec()),
    }
}

/// The same as JSON, as it stands; `option` is named where it is none.
///
/// # Errors
/// It cannot be read, or is no JSON.
pub fn json_value(option: &str, typed: &str) -> Result<Box<RawValue>> {
    serde_json::from_slice(&value(typed)?)
        .map_err(|error| Trouble::Usage(format!("{option} must be JSON, or @FILE with JSON in it: {error}")))
}

/// Whether a person agrees. Without a terminal nobody can be asked, and then only `--yes` does.
///
/// # Errors
/// They do not agree, or cannot be asked.
pub fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Trouble::Usage(
            "nothing was done: there is no terminal to ask at; --yes says that it is meant".to_owned(),
        ));
    }
    let mut err = io::stderr().lock();
    // A terminal that cannot be written to cannot be read from either.
    let _ = write!(err, "{question} [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    let _ = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        Ok(())
    } else {
        Err(Trouble::Declined)
    }
}
