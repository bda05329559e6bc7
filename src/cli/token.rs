//! `redial token new`: a token, printed once, and what the configuration has to know of it.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::Outcome;
use crate::call::Publisher;
use crate::config::settings::Role;

/// Begins every token, so that people and secret scanners know one when they see it.
const PREFIX: &str = "rdl_";
/// Bytes of chance in a token.
const CHANCE_BYTES: usize = 32;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token: it is printed once, the configuration keeps its hash only
    New(NewArgs),
}

/// Arguments of `redial token new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Who uses it: the publisher of what it submits, the actor of what it does
    #[arg(value_name = "NAME", value_parser = name)]
    name: Publisher,
    /// What it may do: submit, view, operate
    #[arg(long, required = true, value_delimiter = ',', value_name = "ROLES", value_parser = role)]
    roles: Vec<Role>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<Publisher, String> {
    Publisher::parse(text).map_err(|error| format!("the name {error}"))
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("must be of {}", Role::allowed()))
}

/// Carries out a token command.
///
/// # Errors
/// The system has no random numbers.
pub fn run(command: &TokenCommand) -> Outcome {
    let TokenCommand::New(args) = command;
    let mut chance = [0; CHANCE_BYTES];
    OsRng.try_fill_bytes(&mut chance).context("the system's source of random numbers")?;
    let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(chance));
    let hash = Sha256::digest(&token).iter().fold(String::new(), |mut hash, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hash, "{byte:02x}");
        hash
    });
    let mut roles: Vec<&str> = Vec::new();
    for role in &args.roles {
        if !roles.contains(&role.as_str()) {
            roles.push(role.as_str());
        }
    }
    if args.json {
        let name = args.name.as_str();
        println!("{}", json!({ "name": name, "token": token, "sha256": hash, "roles": roles }));
    } else {
        // The token alone on standard output's first line, so that `| head -1` catches it; the rest is TOML as it stands.
        println!("{token}\n\n{}", lines(&args.name, &hash, &roles));
        eprintln!("the token is shown this once; the lines below it belong in the configuration");
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines for the configuration.
fn lines(name: &Publisher, hash: &str, roles: &[&str]) -> String {
    let name = name.as_str();
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    // JSON's string syntax is TOML's, but for DEL, which no name holds.
    let key = if bare { name.to_owned() } else { json!(name).to_string() };
    format!("[tokens.{key}]\nsha256 = \"{hash}\"\nroles = [\"{}\"]", roles.join("\", \""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    #[test]
    fn the_lines_are_accepted_by_the_configuration() {
        for text in ["billing", "shop.eu", "a b", "7"] {
            let name = Publisher::parse(text).unwrap();
            let toml = format!(
                "{}\n[endpoints.sms]\nbase_url = \"http://x\"\n",
                lines(&name, &"0f".repeat(32), &["submit", "view"])
            );
            let settings =
                config::load(&Sources::of_text(toml)).unwrap_or_else(|faults| panic!("{faults}")).settings;
            assert_eq!(settings.tokens[&name].roles.len(), 2, "{text}");
        }
    }
}
