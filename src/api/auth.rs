//! Who asks, by bearer token or by the console's cookie, and what they may do. With no token configured everybody may do everything, and the server listens on loopback only.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Api;
use super::cursor::Seal;
use super::problem::Problem;
use super::session::{self, PublicUrl, Session};
use crate::call::{Publisher, named};
use crate::clock::Timestamp;

named! {
    /// What a token may do.
    Role {
        /// Hand calls over.
        Submit = "submit",
        /// Look at calls.
        View = "view",
        /// Act on calls.
        Operate = "operate",
    }
}

/// One configured token.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its name: the publisher of what is submitted with it, the actor of what is done with it.
    pub name: Publisher,
    /// SHA-256 of the token.
    pub sha256: [u8; 32],
    /// What it may do.
    pub roles: Vec<Role>,
}

/// All configured tokens.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// These tokens.
    pub const fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// What cursors of lists are sealed with where these are the tokens.
    pub fn cursors(&self) -> Seal {
        Seal::new(self.0.iter().map(|token| &token.sha256))
    }

    /// Whether anybody may do anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token with this secret.
    ///
    /// # Errors
    /// 401 if none has it.
    pub(super) fn with_secret(&self, given: &[u8]) -> Result<&Token, Problem> {
        // Every token is compared, each in constant time, so that the time taken says nothing about which came close.
        let hash: [u8; 32] = Sha256::digest(given).into();
        let matching =
            self.0.iter().fold(
                None,
                |found, token| {
                    if bool::from(token.sha256.ct_eq(&hash)) { Some(token) } else { found }
                },
            );
        matching.ok_or_else(|| {
            Problem::new(StatusCode::UNAUTHORIZED, "token_unknown", "this token is not configured")
        })
    }

    /// Who asks: by an `Authorization` header, or else by the console's cookie, with its session.
    ///
    /// # Errors
    /// 401 without a known token and without a session.
    pub(super) fn asker(&self, headers: &HeaderMap) -> Result<(&Token, Option<Session>), Problem> {
        let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if authorization.is_none() {
            let named = |name: &str| self.0.iter().find(|token| token.name.as_str() == name);
            if let Some((token, session)) = Session::open(headers, Timestamp::now(), named) {
                return Ok((token, Some(session)));
            }
        }
        let given = authorization.and_then(|value| {
            let (scheme, token) = value.split_at_checked(7)?;
            scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
        });
        let given = given.ok_or_else(|| {
            let detail = "send a token: Authorization: Bearer <token>";
            Problem::new(StatusCode::UNAUTHORIZED, "token_missing", detail)
        })?;
        Ok((self.with_secret(given)?, None))
    }

    /// Who asks, if they may act in this role.
    ///
    /// # Errors
    /// 401 without a known token or session, 403 with one that lacks the role, and for what another site caused.
    fn admit(&self, parts: &Parts, public: &PublicUrl, role: Role) -> Result<Publisher, Problem> {
        if self.is_empty() {
            session::hold_anonymous(parts, public)?;
            return Ok(Publisher::anonymous());
        }
        let (token, session) = self.asker(&parts.headers)?;
        if let Some(session) = session {
            session.hold(token, parts, public)?;
        }
        if !token.roles.contains(&role) {
            let detail = format!("the token {} does not have the role {role}", token.name);
            return Err(Problem::new(StatusCode::FORBIDDEN, "role_missing", detail));
        }
        Ok(token.name.clone())
    }
}

/// Declares the extractor of one role.
macro_rules! extractor {
    ($(#[$meta:meta])* $name:ident, $role:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Publisher);

        impl FromRequestParts<Arc<Api>> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
                api.tokens.admit(parts, &api.public_url, $role).map(Self)
            }
        }
    };
}

extractor! {
    /// Somebody who may hand calls over.
    Submitter, Role::Submit
}
extractor! {
    /// Somebody who may look at calls.
    Viewer, Role::View
}
extractor! {
    /// Somebody who may act on calls.
    Operator, Role::Operate
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        let token = |name: &str, text: &str, roles: &[Role]| Token {
            name: Publisher::parse(name).unwrap(),
            sha256: Sha256::digest(text).into(),
            roles: roles.to_vec(),
        };
        Tokens::new(vec![
            token("billing", "secret-1", &[Role::Submit]),
            token("ops", "secret-2", &[Role::View, Role::Operate]),
        ])
    }

    fn asking(authorization: Option<&str>) -> Parts {
        let request = axum::http::Request::post("/v1/calls");
        let request = match authorization {
            Some(authorization) => request.header(header::AUTHORIZATION, authorization),
            None => request,
        };
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_token_admits_to_its_roles_only() {
        for (authorization, role, expected) in [
            (Some("Bearer secret-1"), Role::Submit, Ok("billing")),
            (Some("bearer secret-2"), Role::Operate, Ok("ops")),
            (Some("Bearer secret-1"), Role::View, Err(403)),
            (Some("Bearer secret-3"), Role::Submit, Err(401)),
            (Some("Basic secret-1"), Role::Submit, Err(401)),
            (Some("Bear"), Role::Submit, Err(401)),
            (None, Role::View, Err(401)),
        ] {
            let admitted = tokens().admit(&asking(authorization), &PublicUrl::default(), role);
            let admitted = admitted.map(|name| name.to_string()).map_err(|problem| problem.status().as_u16());
            assert_eq!(admitted, expected.map(str::to_owned), "{authorization:?} {role}");
        }
    }

    #[test]
    fn without_tokens_everybody_is_admitted() {
        let admitted = Tokens::default().admit(&asking(None), &PublicUrl::default(), Role::Operate);
        assert_eq!(admitted.unwrap(), Publisher::anonymous());
    }
}
