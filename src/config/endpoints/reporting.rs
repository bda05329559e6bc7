//! `[callback]`: how the third party reports results by itself (`POST /v1/callbacks/{endpoint}`).

use secrecy::{ExposeSecret, SecretString};

use super::super::fault::{Complaint, Place};
use super::super::table::{Found, Table};
use super::super::value;
use super::confirm::complaint;
use super::rules::{Kind, rules};
use super::{HEADER_NAME, header_name};
use crate::endpoint::condition::MESSAGE_NAMES;
use crate::endpoint::reporting::{Handle, Proof, Report, SignatureEncoding};
use crate::endpoint::{Reporting, Template};

/// Whoever knows the secret may settle calls.
const SECRET_BYTES_MIN: usize = 16;
const HANDLE: &str = "idempotency_key, call, or tag:<name>";

const REPORTS: Kind<Report> = Kind {
    label: "callback.rules",
    meaning: "answer",
    parse: Report::parse,
    allowed: Report::allowed,
    names: MESSAGE_NAMES,
};

/// Reads the table; `None` has been reported.
pub(super) fn read(table: &mut Table<'_>) -> Option<Reporting> {
    let proof = proof(table);
    let call = table.required("call", |node| Template::parse_for_message(node.text()?).map_err(complaint));
    let by = table.optional("by", value::parsed(Handle::parse, HANDLE));
    let rules = rules(table, &REPORTS);
    if matches!(&rules, Found::Nothing) {
        let allowed = "rules = [{ when = \"body.state == 'delivered'\", answer = \"done\" }, …]: without them no message says anything";
        table.fault(Complaint::new("has no rules", allowed));
    }
    Some(Reporting {
        proof: proof?,
        call: call?.value,
        by: match by {
            Found::Nothing => Handle::IdempotencyKey,
            Found::Faulty => return None,
            Found::Value(by) => by.value,
        },
        rules: rules.value()?.value,
    })
}

/// One of the two ways; anything else has been reported.
fn proof(table: &mut Table<'_>) -> Option<Proof> {
    let (no_token, no_signature) = (table.lacks("token"), table.lacks("signature"));
    let token = table.table("token", token).flatten();
    let signature = table.table("signature", signature).flatten();
    if no_token == no_signature {
        let problem =
            if no_token { "has neither token nor signature" } else { "has both token and signature" };
        let allowed = "token = { secret = \"${TOKEN}\" } or signature = { header = \"x-signature\", secret = \"${KEY}\" }";
        table.fault(Complaint::new(problem, allowed));
        return None;
    }
    token.or(signature)
}

fn token(table: &mut Table<'_>) -> Option<Proof> {
    let header = table.optional("header", value::parsed(header_name, HEADER_NAME));
    let secret = secret(table);
    let header = match header {
        Found::Nothing => http::header::AUTHORIZATION,
        Found::Faulty => return None,
        Found::Value(header) => header.value,
    };
    Some(Proof::Token { header, secret: secret? })
}

fn signature(table: &mut Table<'_>) -> Option<Proof> {
    let header = table.required("header", value::parsed(header_name, HEADER_NAME));
    let secret = secret(table);
    let algorithm = table
        .optional("algorithm", value::parsed(|text| (text == "hmac-sha256").then_some(()), "hmac-sha256"));
    let encoding =
        table.optional("encoding", value::parsed(SignatureEncoding::parse, SignatureEncoding::allowed()));
    let prefix = table.optional("prefix", |node| node.text().map(str::to_owned));
    if algorithm.is_faulty() || encoding.is_faulty() || prefix.is_faulty() {
        return None;
    }
    Some(Proof::Signature {
        header: header?.value,
        secret: secret?,
        encoding: encoding.value().map_or(SignatureEncoding::Hex, |encoding| encoding.value),
        prefix: prefix.value().map_or_else(String::new, |prefix| prefix.value),
    })
}

fn secret(table: &mut Table<'_>) -> Option<SecretString> {
    let found = table.required_secret("secret")?;
    if found.value.value.expose_secret().len() < SECRET_BYTES_MIN {
        let allowed =
            format!("a secret of at least {SECRET_BYTES_MIN} bytes: whoever knows it may settle calls");
        table.desk.fault_at(&found, Complaint::new("is too short", allowed));
        return None;
    }
    if found.value.is_literal() && matches!(found.place, Place::Position { .. }) {
        let sentence =
            "holds a secret; a reference keeps it out of the file: \"${CALLBACK_SECRET}\"".to_owned();
        table.desk.warn(&found.place, &found.key, sentence);
    }
    Some(found.value.value)
}
