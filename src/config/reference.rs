//! Secrets by reference: `${NAME}` anywhere in a value, or `file:/run/secrets/x` for the whole of it.
//!
//! What a reference stands for never appears in a sentence, and the value that it is put into is printed only as it was typed.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::environment::{Environment, Variable};
use super::fault::{Complaint, quoted};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An environment variable, by its name.
    Variable(String),
    /// A file.
    File(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

/// A value with its references filled in.
#[derive(Clone, Debug)]
pub(super) struct Secret {
    pub(super) value: SecretString,
    /// As it was typed, without the parts of a URL that may hold a secret.
    pub(super) shown: String,
    /// What was filled in.
    pub(super) filled_in: Vec<SecretString>,
    /// What the references name; empty for a value that was written out.
    pub(super) origins: Vec<Origin>,
    /// Sentences for warnings.
    pub(super) doubts: Vec<String>,
}

impl Secret {
    /// Whether it was written out.
    pub(super) fn is_literal(&self) -> bool {
        self.origins.is_empty()
    }
}

const ALLOWED: &str = "${NAME} of an environment variable that is set and not empty, file:/path for a whole value, $${ for ${ itself";
/// A secret is a password or a URL, no document.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Fills in the references of a value.
///
/// # Errors
/// All references that cannot be filled in, by name.
pub(super) fn resolve(typed: &str, environment: &Environment) -> Result<Secret, Complaint> {
    match typed.strip_prefix("file:") {
        Some(path) => from_file(Path::new(path)),
        None => from_variables(typed, environment),
    }
}

fn from_file(path: &Path) -> Result<Secret, Complaint> {
    let shown = quoted(&path.display().to_string());
    let complain = |what: &str| {
        Complaint::new(
            format!("the file {shown} {what}"),
            "file:/path of a readable file with one line of text",
        )
    };
    let file = std::fs::File::open(path)
        .map_err(|error| complain(&format!("cannot be opened: {}", error.kind())))?;
    let doubts = if is_world_readable(&file) {
        vec![format!("every user of this machine can read {shown}; take the right away (chmod o-r)")]
    } else {
        Vec::new()
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| complain(&format!("cannot be read: {}", error.kind())))?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
        return Err(complain("is longer than 64 KiB"));
    }
    let value = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if value.is_empty() {
        return Err(complain("is empty"));
    }
    let origins = vec![Origin::File(path.to_owned())];
    let shown = format!("file:{}", path.display());
    Ok(Secret { value: value.into(), shown, filled_in: vec![value.into()], origins, doubts })
}

#[cfg(unix)]
fn is_world_readable(file: &std::fs::File) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o004 != 0)
}

#[cfg(not(unix))]
fn is_world_readable(_: &std::fs::File) -> bool {
    false
}

fn from_variables(typed: &str, environment: &Environment) -> Result<Secret, Complaint> {
    let mut value = String::with_capacity(typed.len());
    let (mut filled_in, mut origins) = (Vec::new(), Vec::new());
    let mut problems = Vec::new();
    let mut rest = typed;
    while let Some(start) = rest.find("${") {
        if let Some(before) = rest[..start].strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        value.push_str(&rest[..start]);
        let Some((name, after)) =
            rest[start + 2..].split_once('}').filter(|(name, _)| is_variable_name(name))
        else {
            problems.push("holds a \"${\" that begins no reference".to_owned());
            break;
        };
        match environment.get(name) {
            Variable::Text("") => problems.push(format!("the environment variable {name} is empty")),
            Variable::Text(text) => {
                value.push_str(text);
                filled_in.push(text.into());
            }
            Variable::Unset => problems.push(format!("the environment variable {name} is not set")),
            Variable::NotText => problems.push(format!("the environment variable {name} is not UTF-8")),
        }
        origins.push(Origin::Variable(name.to_owned()));
        rest = after;
    }
    if !problems.is_empty() {
        return Err(Complaint::new(problems.join(", "), ALLOWED));
    }
    value.push_str(rest);
    Ok(Secret { value: value.into(), shown: shown_url(typed), filled_in, origins, doubts: Vec::new() })
}

fn is_variable_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A URL as it was typed, without user, password and query. Where it is not certain what is what, only the scheme remains.
fn shown_url(typed: &str) -> String {
    let Some((scheme, rest)) = typed.split_once("://") else {
        let one_reference = typed.starts_with("${") && typed.find('}') == Some(typed.len() - 1);
        let shown =
            if one_reference || typed.starts_with("sqlite:") || typed == "embedded:" { typed } else { "…" };
        return shown.split(['?', '#']).next().unwrap_or_default().to_owned();
    };
    let location = rest.rsplit('@').next().unwrap_or_default();
    let before = &rest[..rest.len() - location.len()];
    if before.contains(['?', '#']) {
        return format!("{scheme}://…");
    }
    format!("{scheme}://{}", location.split(['?', '#']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    fn environment() -> Environment {
        Environment::new([("USER_1", "redial"), ("PW", "hunter2"), ("EMPTY", ""), ("_X", "x")])
    }

    #[test]
    fn references_are_filled_in() {
        for (typed, value) in [
            ("plain", "plain"),
            ("", ""),
            ("${PW}", "hunter2"),
            ("amqp://${USER_1}:${PW}@h", "amqp://redial:hunter2@h"),
            ("${_X}${_X}", "xx"),
            ("$${PW}", "${PW}"),
            ("$$${PW}", "$${PW}"),
            ("a$b$", "a$b$"),
            ("$PW", "$PW"),
        ] {
            let secret = resolve(typed, &environment()).unwrap();
            assert_eq!(secret.value.expose_secret(), value, "{typed}");
            assert!(!format!("{secret:?}").contains("hunter2"), "{typed}");
        }
    }

    #[test]
    fn every_reference_that_leads_nowhere_is_named() {
        let complaint = resolve("${NONE}${EMPTY}${PW}", &environment()).unwrap_err();
        assert_eq!(
            complaint.problem,
            "the environment variable NONE is not set, the environment variable EMPTY is empty"
        );
        for typed in ["${", "${}", "${PW", "${1A}", "${A B}", "${ä}", "x${PW}${"] {
            let complaint = resolve(typed, &environment()).unwrap_err();
            assert!(!complaint.problem.contains("hunter2") && complaint.problem.contains("${"), "{typed}");
        }
    }

    #[test]
    fn a_file_holds_the_whole_value() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hunter2\n").unwrap();
        let typed = format!("file:{}", file.path().display());
        let secret = resolve(&typed, &environment()).unwrap();
        assert_eq!(secret.value.expose_secret(), "hunter2");
        assert_eq!((secret.shown.as_str(), secret.doubts.len()), (typed.as_str(), 0));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_everybody_can_read_is_doubtful() {
        use std::os::unix::fs::PermissionsExt as _;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"hunter2\n").unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).unwrap();
        let secret = resolve(&format!("file:{}", file.path().display()), &environment()).unwrap();
        assert!(secret.doubts[0].contains("every user") && !secret.doubts[0].contains("hunter2"));
    }

    #[test]
    fn files_that_hold_no_value_are_named() {
        let mut binary = tempfile::NamedTempFile::new().unwrap();
        binary.write_all(&[0xff]).unwrap();
        let mut long = tempfile::NamedTempFile::new().unwrap();
        long.write_all(&vec![b'a'; 64 * 1024 + 1]).unwrap();
        let empty = tempfile::NamedTempFile::new().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for path in [
            binary.path(),
            long.path(),
            empty.path(),
            directory.path(),
            Path::new("/no/such/file"),
            Path::new(""),
        ] {
            let complaint = resolve(&format!("file:{}", path.display()), &environment()).unwrap_err();
            assert!(complaint.problem.starts_with("the file"), "{}", complaint.problem);
        }
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (typed, shown) in [
            ("sqlite:redial.db?x=y", "sqlite:redial.db"),
            ("embedded:", "embedded:"),
            ("postgres://u:p@db:5432/redial?password=x", "postgres://db:5432/redial"),
            ("postgres://u:p/w@x@db/redial", "postgres://db/redial"),
            ("postgres://u:p?w@db/redial", "postgres://…"),
            ("postgres://db/redial?password=p@w", "postgres://…"),
            ("amqp://${U}:${P}@${HOST}:5672/%2f", "amqp://${HOST}:5672/%2f"),
            ("${DATABASE_URL}", "${DATABASE_URL}"),
            ("${START}hunter2@x", "…"),
        ] {
            assert_eq!(shown_url(typed), shown, "{typed}");
        }
    }
}
