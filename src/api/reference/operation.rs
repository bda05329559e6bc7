//! What is said of one thing that can be asked of the API.

use super::super::auth::Role;

/// One thing that can be asked.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) group: Group,
    /// What a token needs; `None`: nothing.
    pub(super) role: Option<Role>,
    pub(super) summary: &'static str,
    pub(super) description: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Option<Body>,
    pub(super) answers: &'static [Answer],
    /// Statuses and codes of problems beside those that every such operation can have.
    pub(super) problems: &'static [(u16, &'static [&'static str])],
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

/// Where readers look for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Submit,
    Calls,
    Review,
    Endpoints,
    Statistics,
    Rejected,
    Privacy,
    Console,
    Service,
}

impl Group {
    /// Every group, in the order of the page, with what it is about.
    pub(super) const ALL: &[(Self, &'static str, &'static str)] = &[
        (Self::Submit, "Submitting", "Hand calls over. A call is confirmed only once it is durable."),
        (Self::Calls, "Calls", "Look at calls, and act on one."),
        (Self::Review, "Review", "Groups of what waits for a person, jobs for many calls, the audit log."),
        (Self::Endpoints, "Endpoints", "The third parties as configured, and how they have been doing."),
        (Self::Statistics, "Statistics", "Totals, rates, and the last minutes one by one."),
        (Self::Rejected, "Rejected messages", "What came by AMQP and could not be accepted."),
        (Self::Privacy, "Privacy", "Forgetting what is personal."),
        (
            Self::Console,
            "Console",
            "What a browser needs beside the rest: a session in place of a token, and events.",
        ),
        (Self::Service, "Service", "Probes, counters, and this description."),
    ];

    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(group, ..)| *group == self).map_or("", |(_, name, _)| name)
    }
}

/// A value beside the body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) kind: Kind,
    pub(super) about: &'static str,
}

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    Id,
    Time,
    Number,
    Truth,
}

/// A JSON body: the name of its schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) schema: &'static str,
    pub(super) needed: bool,
}

/// An answer that is no problem.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Content,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// JSON of this schema.
    Json(&'static str),
    /// Something else, of this media type.
    Other(&'static str),
    /// Nothing.
    Nothing,
}

pub(super) const fn parameter(
    name: &'static str,
    place: Place,
    kind: Kind,
    about: &'static str,
) -> Parameter {
    Parameter { name, place, kind, about }
}

pub(super) const fn query(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
    parameter(name, Place::Query, kind, about)
}

pub(super) const fn json(status: u16, schema: &'static str, about: &'static str) -> Answer {
    Answer { status, about, content: Content::Json(schema) }
}

#[expect(clippy::unnecessary_wraps, reason = "the member that it fills may be empty")]
pub(super) const fn needed(schema: &'static str) -> Option<Body> {
    Some(Body { schema, needed: true })
}

#[expect(clippy::unnecessary_wraps, reason = "the member that it fills may be empty")]
pub(super) const fn optional(schema: &'static str) -> Option<Body> {
    Some(Body { schema, needed: false })
}
