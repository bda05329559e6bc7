//! What can be asked of the API: one table, grouped as readers look for things.

use super::super::auth::Role;
use super::operation::{
    Answer, Content, Group, Kind, Method, Operation, Parameter, Place, json, needed, optional, parameter,
    query,
};

/// What all have that say nothing else.
const PLAIN: Operation = Operation {
    method: Method::Get,
    path: "",
    group: Group::Service,
    role: Some(Role::View),
    summary: "",
    description: "",
    parameters: &[],
    body: None,
    answers: &[],
    problems: &[],
};

const CALL_ID: Parameter = parameter("id", Place::Path, Kind::Id, "The call's id.");
const JOB_ID: Parameter = parameter("id", Place::Path, Kind::Id, "The job's id.");
const MESSAGE_ID: Parameter =
    parameter("id", Place::Path, Kind::Id, "The message's id, as the list shows it.");
const ENDPOINT_NAME: Parameter = parameter("name", Place::Path, Kind::Text, "The endpoint's name.");
const IF_MATCH: Parameter = parameter(
    "If-Match",
    Place::Header,
    Kind::Text,
    "Only if the call is still at this revision, in quotes as in its ETag: `\"3\"`; `*`: at any. Every operator action counts as a revision.",
);
const CURSOR: Parameter =
    query("cursor", Kind::Text, "The `next_cursor` of the page before; good only with the same conditions.");
const LIMIT: Parameter = query("limit", Kind::Number, "Entries of one page: 1 to 500, 50 unless given.");

const STATUS: Parameter = query("status", Kind::Text, "In one of these states, separated by commas.");
const ENDPOINT: Parameter = query("endpoint", Kind::Text, "Of this endpoint.");
const PUBLISHER: Parameter = query("publisher", Kind::Text, "Of this publisher.");
const PROVIDER: Parameter = query("provider", Kind::Text, "That asked for this provider.");
const TAG: Parameter =
    query("tag.<key>", Kind::Text, "With this tag, as in `tag.order=1234`; may stand several times.");
const REASON: Parameter = query(
    "reason",
    Kind::Text,
    "In review for this reason: exhausted, rejected, ambiguous, expired, unroutable.",
);
const ERROR: Parameter = query(
    "error",
    Kind::Text,
    "Of this group of errors, exactly as `/v1/groups` names it; `none`: without one.",
);
const DRY_RUN: Parameter = query("dry_run", Kind::Truth, "Only dry runs, or only others.");
const FROM: Parameter = query("from", Kind::Time, "Accepted at or after.");
const TO: Parameter = query("to", Kind::Time, "Accepted before.");
const TEXT: Parameter =
    query("q", Kind::Text, "Key, path, tags' values, last error or id contain this, in any case.");

/// A search that would take too long.
const TOO_SLOW: (u16, &[&str]) = (422, &["query_too_slow"]);
const INVALID_PARAMETER: (u16, &[&str]) = (400, &["invalid_parameter", "unknown_parameter"]);
const INVALID_ID: (u16, &[&str]) = (400, &["invalid_id"]);
const UNKNOWN_CALL: (u16, &[&str]) = (404, &["unknown_call"]);
const UNKNOWN_JOB: (u16, &[&str]) = (404, &["unknown_bulk_job"]);
const NO_ACTION: (u16, &[&str]) = (409, &["not_allowed_in_this_state"]);
const OUTDATED: (u16, &[&str]) = (412, &["revision_outdated"]);
const BAD_IF_MATCH: (u16, &[&str]) = (400, &["invalid_id", "invalid_if_match"]);
const BROKER_AWAY: (u16, &[&str]) = (503, &["broker_away"]);

/// Everything that can be asked.
pub(super) const ALL: &[Operation] = &[
    Operation {
        method: Method::Post,
        path: "/v1/calls",
        group: Group::Submit,
        role: Some(Role::Submit),
        summary: "Submit a call",
        description: "202 is sent only once the call is durable. The same key with the same document answers the call that is known, \
                      also when its deadline has passed or its endpoint is gone; with another document it is refused. With \
                      `Prefer: wait=10` the first attempt is made at once, and if it succeeds in that time the answer is 200 with the \
                      third party's response. A known call is waited for in the same way.",
        parameters: &[
            parameter(
                "Prefer",
                Place::Header,
                Kind::Text,
                "`wait=N`: wait up to N seconds, at most 60, for the first attempt.",
            ),
            parameter(
                "traceparent",
                Place::Header,
                Kind::Text,
                "W3C trace context; goes out with every attempt.",
            ),
        ],
        body: needed("Submission"),
        answers: &[
            json(202, "Call", "A new call, durable. `Location` leads to it."),
            json(
                200,
                "Call",
                "The call was known, or it succeeded while the publisher waited; `Location` only with a new one.",
            ),
        ],
        problems: &[(400, &["invalid_preference"]), (422, &["idempotency_key_reused", "unknown_endpoint"])],
    },
    Operation {
        method: Method::Post,
        path: "/v1/calls/batch",
        group: Group::Submit,
        role: Some(Role::Submit),
        summary: "Submit up to 1,000 calls",
        description: "Each document has its own result, in the order given; one that is wrong stops none of the others.",
        body: needed("Batch"),
        answers: &[json(200, "BatchResults", "A result for each document.")],
        ..PLAIN
    },
    Operation {
        path: "/v1/calls",
        group: Group::Calls,
        summary: "List calls",
        description: "Newest first. All conditions hold together.",
        parameters: &[
            STATUS, ENDPOINT, PUBLISHER, PROVIDER, TAG, REASON, ERROR, DRY_RUN, FROM, TO, TEXT, LIMIT, CURSOR,
        ],
        answers: &[json(200, "CallPage", "A page.")],
        problems: &[INVALID_PARAMETER, TOO_SLOW],
        ..PLAIN
    },
    Operation {
        path: "/v1/calls/{id}",
        group: Group::Calls,
        summary: "Show a call with its story",
        description: "With every attempt, every operator action, and the earlier versions of its request. The `ETag` is its revision.",
        parameters: &[CALL_ID],
        answers: &[json(200, "Call", "The call.")],
        problems: &[INVALID_ID, UNKNOWN_CALL],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/calls/{id}/replay",
        group: Group::Calls,
        role: Some(Role::Operate),
        summary: "Replay a call",
        description: "Due at once, from the first rung again. What the body names of the request is changed, the rest stays. A call whose bodies \
                      were erased cannot be replayed.",
        parameters: &[CALL_ID, IF_MATCH],
        body: optional("Replay"),
        answers: &[json(200, "Call", "The call as it now stands.")],
        problems: &[
            BAD_IF_MATCH,
            UNKNOWN_CALL,
            (409, &["not_allowed_in_this_state", "body_erased"]),
            OUTDATED,
        ],
    },
    Operation {
        method: Method::Post,
        path: "/v1/calls/{id}/cancel",
        group: Group::Calls,
        role: Some(Role::Operate),
        summary: "Cancel a call",
        description: "Gives it up. Only while it is scheduled or in review.",
        parameters: &[CALL_ID, IF_MATCH],
        body: optional("Note"),
        answers: &[json(200, "Call", "The call as it now stands.")],
        problems: &[BAD_IF_MATCH, UNKNOWN_CALL, NO_ACTION, OUTDATED],
    },
    Operation {
        method: Method::Post,
        path: "/v1/calls/{id}/resolve",
        group: Group::Calls,
        role: Some(Role::Operate),
        summary: "Declare a call done",
        description: "It was done by hand outside Redial. Only while it is scheduled or in review.",
        parameters: &[CALL_ID, IF_MATCH],
        body: optional("Note"),
        answers: &[json(200, "Call", "The call as it now stands.")],
        problems: &[BAD_IF_MATCH, UNKNOWN_CALL, NO_ACTION, OUTDATED],
    },
    Operation {
        path: "/v1/groups",
        group: Group::Review,
        summary: "Group calls by what is wrong",
        description: "By endpoint, review reason and error without its numbers, ids and quoted text; the largest group first, 500 at most.",
        parameters: &[STATUS, ENDPOINT, PUBLISHER, PROVIDER, TAG, REASON, ERROR, DRY_RUN, FROM, TO, TEXT],
        answers: &[json(200, "Groups", "The groups.")],
        problems: &[INVALID_PARAMETER, TOO_SLOW],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/bulk",
        group: Group::Review,
        role: Some(Role::Operate),
        summary: "Act on many calls",
        description: "With `dry_run` the calls are only counted. Otherwise a job on the server acts on them: paced, the canary first, until \
                      too many fail or somebody aborts it. Which calls is frozen when it starts.",
        body: needed("BulkOrder"),
        answers: &[
            json(200, "BulkCount", "How many calls it would be (`dry_run`)."),
            json(202, "BulkJob", "The job. `Location` leads to it."),
        ],
        problems: &[(422, &["too_many_calls", "query_too_slow"])],
        ..PLAIN
    },
    Operation {
        path: "/v1/bulk",
        group: Group::Review,
        summary: "List jobs",
        description: "Newest first.",
        parameters: &[LIMIT, CURSOR],
        answers: &[json(200, "BulkPage", "A page.")],
        problems: &[INVALID_PARAMETER, TOO_SLOW],
        ..PLAIN
    },
    Operation {
        path: "/v1/bulk/{id}",
        group: Group::Review,
        summary: "Show a job",
        parameters: &[JOB_ID],
        answers: &[json(200, "BulkJob", "The job with its progress.")],
        problems: &[INVALID_ID, UNKNOWN_JOB],
        ..PLAIN
    },
    Operation {
        path: "/v1/bulk/{id}/calls",
        group: Group::Review,
        summary: "List the calls of a job",
        description: "In the order they are acted on, each with what became of it.",
        parameters: &[
            JOB_ID,
            query("result", Kind::Text, "Of this result: waiting, acted, succeeded, failed, skipped."),
            LIMIT,
            CURSOR,
        ],
        answers: &[json(200, "BulkCalls", "A page.")],
        problems: &[(400, &["invalid_id", "invalid_parameter", "unknown_parameter"]), UNKNOWN_JOB],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/bulk/{id}/abort",
        group: Group::Review,
        role: Some(Role::Operate),
        summary: "Abort a job",
        description: "Calls that have not been acted on by now never will be.",
        parameters: &[JOB_ID],
        body: optional("Note"),
        answers: &[json(200, "BulkJob", "The job as it now stands.")],
        problems: &[INVALID_ID, UNKNOWN_JOB, NO_ACTION],
    },
    Operation {
        path: "/v1/audit",
        group: Group::Review,
        summary: "Read the audit log",
        description: "Who did what, when and why; newest first.",
        parameters: &[
            query("actor", Kind::Text, "Of this person."),
            query("action", Kind::Text, "Of this kind, as in `replay` or `erase`."),
            query("from", Kind::Time, "Done at or after."),
            query("to", Kind::Time, "Done before."),
            LIMIT,
            CURSOR,
        ],
        answers: &[json(200, "Audit", "A page.")],
        problems: &[INVALID_PARAMETER, TOO_SLOW],
        ..PLAIN
    },
    Operation {
        path: "/v1/endpoints",
        group: Group::Endpoints,
        summary: "List endpoints",
        description: "Configuration without secrets, what waits and runs, and the last ten minutes.",
        answers: &[json(200, "Endpoints", "All endpoints.")],
        ..PLAIN
    },
    Operation {
        path: "/v1/endpoints/{name}",
        group: Group::Endpoints,
        summary: "Show an endpoint",
        parameters: &[ENDPOINT_NAME],
        answers: &[json(200, "Endpoint", "The endpoint.")],
        problems: &[(404, &["unknown_endpoint"])],
        ..PLAIN
    },
    Operation {
        path: "/v1/configuration",
        group: Group::Endpoints,
        summary: "The configuration in force",
        description: "All endpoints in the words of the configuration file, what was left out filled in, and the tiers and lanes that are declared \
                      for them. Secrets are not shown: of headers there are the names. `redial check --against` compares a file with it.",
        answers: &[json(200, "ConfigurationInForce", "What is in force.")],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/endpoints/{name}/pause",
        group: Group::Endpoints,
        role: Some(Role::Operate),
        summary: "Pause an endpoint",
        description: "Its lane is not consumed until somebody resumes it; nothing is lost or counted as an attempt, and deadlines still hold.",
        parameters: &[ENDPOINT_NAME],
        body: optional("Note"),
        answers: &[json(200, "Endpoint", "The endpoint.")],
        problems: &[(404, &["unknown_endpoint"])],
    },
    Operation {
        method: Method::Post,
        path: "/v1/endpoints/{name}/resume",
        group: Group::Endpoints,
        role: Some(Role::Operate),
        summary: "Resume an endpoint",
        description: "Whatever holds it: calls go out again, a few at first.",
        parameters: &[ENDPOINT_NAME],
        body: optional("Note"),
        answers: &[json(200, "Endpoint", "The endpoint.")],
        problems: &[(404, &["unknown_endpoint"])],
    },
    Operation {
        method: Method::Post,
        path: "/v1/endpoints/{name}/judge",
        group: Group::Endpoints,
        summary: "Try rules",
        description: "How these rules would have judged the newest attempts of the endpoint. Without rules, those in force are tried. Rules that \
                      cannot be compiled are told in `faults`, and nothing is judged.",
        parameters: &[ENDPOINT_NAME],
        body: needed("JudgeOrder"),
        answers: &[json(200, "Judged", "Old verdicts against new ones.")],
        problems: &[(404, &["unknown_endpoint"]), (422, &["invalid_value"])],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/callbacks/{endpoint}",
        group: Group::Endpoints,
        role: None,
        summary: "Report a result",
        description: "For third parties, with the token or the signature of the endpoint's `callback`; without it the answer is that of a path \
                      that does not exist. Settles the call that the message means. 200 `settled`, `settled_with_its_attempt` (an attempt runs; the \
                      call succeeds when it is closed) or `kept` (the call was settled already); 202 `unknown` where no rule of the endpoint reads \
                      the message.",
        parameters: &[parameter("endpoint", Place::Path, Kind::Text, "The endpoint's name.")],
        body: needed("ReportMessage"),
        answers: &[
            json(200, "ReportResult", "The call is settled, or was."),
            json(202, "ReportResult", "The message says nothing."),
        ],
        problems: &[
            UNKNOWN_CALL,
            (409, &["call_ambiguous"]),
            (422, &["call_not_named"]),
            (503, &["attempt_running"]),
        ],
    },
    Operation {
        path: "/v1/stats",
        group: Group::Statistics,
        summary: "Everything at a glance",
        description: "Calls by status, rates, what waits, depths of queues. A count of one true moment, `at`; on a large ledger it is shared by \
                      all who ask for up to 15 seconds.",
        answers: &[json(200, "Stats", "The totals.")],
        ..PLAIN
    },
    Operation {
        path: "/v1/stats/history",
        group: Group::Statistics,
        summary: "The last minutes, one by one",
        description: "Every minute is there, also one in which nothing happened; the last one is not over. Dry runs are left out.",
        parameters: &[query("minutes", Kind::Number, "How many: 1 to 1440, 60 unless given."), ENDPOINT],
        answers: &[json(200, "History", "The minutes, oldest first.")],
        problems: &[INVALID_PARAMETER, TOO_SLOW],
        ..PLAIN
    },
    Operation {
        path: "/v1/rejected",
        group: Group::Rejected,
        summary: "List rejected messages",
        description: "What is kept in the queue `redial.rejected`, without consuming it. Without RabbitMQ there never is anything.",
        parameters: &[query("limit", Kind::Number, "Messages: 1 to 1000, 50 unless given.")],
        answers: &[json(200, "Rejected", "The messages, and how many there are in all.")],
        problems: &[INVALID_PARAMETER, BROKER_AWAY],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/rejected/{id}/resubmit",
        group: Group::Rejected,
        role: Some(Role::Operate),
        summary: "Resubmit a rejected message",
        description: "As its publisher, with the corrected document where one is given, else as it is. It leaves the queue only once the call is \
                      durable.",
        parameters: &[MESSAGE_ID],
        body: optional("Resubmission"),
        answers: &[
            json(202, "Call", "A new call, durable."),
            json(200, "Call", "The call was known; the message is gone."),
        ],
        problems: &[
            INVALID_ID,
            (404, &["unknown_rejection"]),
            (422, &["idempotency_key_reused", "unknown_endpoint", "replay_order"]),
            BROKER_AWAY,
        ],
    },
    Operation {
        method: Method::Post,
        path: "/v1/rejected/{id}/discard",
        group: Group::Rejected,
        role: Some(Role::Operate),
        summary: "Discard a rejected message",
        description: "It is gone for good.",
        parameters: &[MESSAGE_ID],
        body: optional("Note"),
        answers: &[Answer { status: 204, about: "It is gone.", content: Content::Nothing }],
        problems: &[INVALID_ID, (404, &["unknown_rejection"]), BROKER_AWAY],
    },
    Operation {
        method: Method::Post,
        path: "/v1/erase",
        group: Group::Privacy,
        role: Some(Role::Operate),
        summary: "Erase what is personal",
        description: "Of all calls with all these tags: bodies, headers, paths, tags' values, callback addresses, errors, earlier requests. The \
                      skeleton of a call stays. Calls that wait are cancelled, because they could not be sent any more; calls that are running are \
                      left and counted, so ask again. Idempotency and entity keys, notes of operators and the audit log stay.",
        body: needed("ErasureOrder"),
        answers: &[json(200, "Erased", "What was erased, or would be (`dry_run`).")],
        ..PLAIN
    },
    Operation {
        path: "/v1/stream",
        group: Group::Console,
        summary: "Listen",
        description: "Server-sent events: `stats` with the body of `/v1/stats` every two seconds; with `call`, `call` whenever that call changes; \
                      `ping` every 15 seconds.",
        parameters: &[query("call", Kind::Id, "The call to watch.")],
        answers: &[Answer {
            status: 200,
            about: "Events, until either side ends it.",
            content: Content::Other("text/event-stream"),
        }],
        problems: &[(400, &["invalid_parameter"]), UNKNOWN_CALL, (503, &["too_many_streams"])],
        ..PLAIN
    },
    Operation {
        method: Method::Post,
        path: "/v1/session",
        group: Group::Console,
        role: None,
        summary: "Log in",
        description: "A token in, a cookie out (`redial_session`). What changes something under the cookie needs the header `X-Redial-CSRF` \
                      and this server's own `Origin`.",
        body: needed("Login"),
        answers: &[json(200, "Session", "Who that is.")],
        problems: &[(401, &["token_unknown"]), (403, &["foreign_origin"])],
        ..PLAIN
    },
    Operation {
        path: "/v1/session",
        group: Group::Console,
        role: None,
        summary: "Who am I?",
        description: "Whom the cookie or the bearer token stands for.",
        answers: &[json(200, "Session", "Who that is.")],
        problems: &[(401, &["token_missing", "token_unknown"])],
        ..PLAIN
    },
    Operation {
        method: Method::Delete,
        path: "/v1/session",
        group: Group::Console,
        role: None,
        summary: "Log out",
        answers: &[Answer {
            status: 204,
            about: "The browser forgets its cookie.",
            content: Content::Nothing,
        }],
        problems: &[(401, &["token_missing", "token_unknown"]), (403, &["csrf_missing"])],
        ..PLAIN
    },
    Operation {
        path: "/healthz",
        role: None,
        summary: "Is the process alive?",
        answers: &[json(200, "Health", "It is.")],
        ..PLAIN
    },
    Operation {
        path: "/readyz",
        role: None,
        summary: "Is the process ready?",
        description: "200 also while only RabbitMQ is away, because calls go on.",
        answers: &[
            json(200, "Readiness", "Calls are taken and made."),
            json(503, "Readiness", "It is starting or stopping, or the ledger is away."),
        ],
        ..PLAIN
    },
    Operation {
        path: "/metrics",
        role: None,
        summary: "Counters for Prometheus",
        answers: &[Answer {
            status: 200,
            about: "OpenMetrics 1.0.",
            content: Content::Other("application/openmetrics-text"),
        }],
        ..PLAIN
    },
    Operation {
        path: "/openapi.json",
        role: None,
        summary: "This description for programs",
        answers: &[Answer {
            status: 200,
            about: "OpenAPI 3.1.",
            content: Content::Other("application/json"),
        }],
        ..PLAIN
    },
    Operation {
        path: "/docs",
        role: None,
        summary: "This description for people",
        answers: &[Answer { status: 200, about: "A page.", content: Content::Other("text/html") }],
        ..PLAIN
    },
    Operation {
        path: "/docs/style.css",
        role: None,
        summary: "What the page looks like",
        answers: &[Answer { status: 200, about: "A style sheet.", content: Content::Other("text/css") }],
        ..PLAIN
    },
];
