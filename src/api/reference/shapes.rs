//! The shapes of documents that are read member by member, and of answers that are put together by hand. Nothing is ever made of these types:
//! they say what the JSON looks like, and a test holds real answers against them.

#![expect(dead_code, reason = "described, never made")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;

use super::schemas::collect;

/// What stands before everything else.
pub(super) const INTRODUCTION: &str = "Redial takes failed calls to third parties over and makes them again until they succeed or a person decides. \
Errors are problem documents (RFC 9457) with a stable `code`. Times are RFC 3339 in UTC with milliseconds; durations end in `_ms`. \
Tokens go out as `Authorization: Bearer …`; with none configured, everybody on this machine may do everything.";

/// Adds all of them.
pub(super) fn collect_all(shapes: &mut Vec<(String, RefOr<Schema>)>) {
    collect::<Submission>(shapes);
    collect::<Batch>(shapes);
    collect::<BatchResults>(shapes);
    collect::<CallPage>(shapes);
    collect::<Replay>(shapes);
    collect::<Note>(shapes);
    collect::<Groups>(shapes);
    collect::<BulkOrder>(shapes);
    collect::<BulkCount>(shapes);
    collect::<BulkJob>(shapes);
    collect::<BulkPage>(shapes);
    collect::<BulkCalls>(shapes);
    collect::<Audit>(shapes);
    collect::<Endpoints>(shapes);
    collect::<ConfigurationInForce>(shapes);
    collect::<Stats>(shapes);
    collect::<Resubmission>(shapes);
    collect::<ErasureOrder>(shapes);
    collect::<JudgeOrder>(shapes);
    collect::<Judged>(shapes);
    collect::<ReportMessage>(shapes);
    collect::<ReportResult>(shapes);
    collect::<Login>(shapes);
    collect::<Session>(shapes);
    collect::<Health>(shapes);
    collect::<Readiness>(shapes);
}

/// A call that is handed over.
#[derive(ToSchema)]
struct Submission {
    /// Which configured third party.
    endpoint: String,
    /// The publisher's name for it, 1 to 255 printable ASCII characters; the same key with the same document is the same call.
    idempotency_key: Option<String>,
    request: RequestDocument,
    /// The publisher has tried already: the first attempt comes after the first rung.
    failure: Option<FailureDocument>,
    /// No attempt before this time; one beyond the default deadline needs a deadline too.
    not_before: Option<String>,
    /// To review as expired if not finished by then; 7 days after submission unless given.
    deadline: Option<String>,
    /// The thing of which only the newest version matters.
    entity: Option<EntityDocument>,
    /// Where the outcome is posted.
    callback_url: Option<String>,
    /// Labels to find it by, at most 32.
    tags: Option<BTreeMap<String, String>>,
    /// The provider that is to serve it, where the endpoint has several.
    provider: Option<String>,
    /// Answered by the endpoint's script; nothing leaves the machine.
    dry_run: Option<bool>,
}

/// An HTTP request to a third party.
#[derive(ToSchema)]
struct RequestDocument {
    /// GET, HEAD, POST, PUT, PATCH or DELETE; POST unless given.
    method: Option<String>,
    /// Path and query, joined to the endpoint's base URL.
    path: Option<String>,
    /// The whole URL, where the endpoint lets submissions name the host.
    url: Option<String>,
    headers: Option<BTreeMap<String, String>>,
    /// Any JSON value, sent as JSON.
    body: Option<Value>,
    /// Anything else, in base64; needs a `content-type` header.
    body_base64: Option<String>,
}

/// What went wrong at the publisher.
#[derive(ToSchema)]
struct FailureDocument {
    occurred_at: Option<String>,
    status: Option<u16>,
    error: Option<String>,
    /// The publisher does not know whether the call took effect.
    ambiguous: Option<bool>,
    attempts: Option<u32>,
}

/// A version of a thing.
#[derive(ToSchema)]
struct EntityDocument {
    key: String,
    version: i64,
}

/// Up to 1,000 submissions; the bare list does as well.
#[derive(ToSchema)]
struct Batch {
    calls: Vec<Submission>,
}

/// A result for each document of a batch, in their order.
#[derive(ToSchema)]
struct BatchResults {
    results: Vec<BatchResult>,
}

/// What became of one document.
#[derive(ToSchema)]
struct BatchResult {
    /// As for a single submission: 202, 200, or that of the problem.
    status: u16,
    call: Option<Value>,
    problem: Option<Value>,
}

/// A page of calls.
#[derive(ToSchema)]
struct CallPage {
    #[schema(value_type = Vec<crate::api::render::CallView>)]
    calls: Vec<Value>,
    /// For the next page; null on the last one.
    next_cursor: Option<String>,
}

/// How a call is to be set going again.
#[derive(ToSchema)]
struct Replay {
    /// What is changed of its request.
    request: Option<RequestDocument>,
    /// `same` or `new`; with `new` the third party takes it for a new call.
    idempotency_key: Option<String>,
    note: Option<String>,
}

/// Why, in the operator's words.
#[derive(ToSchema)]
struct Note {
    note: Option<String>,
}

/// Groups of calls.
#[derive(ToSchema)]
struct Groups {
    groups: Vec<GroupOfCalls>,
}

/// Calls in which the same thing is wrong.
#[derive(ToSchema)]
struct GroupOfCalls {
    endpoint: String,
    review_reason: Option<String>,
    /// Without numbers, ids and quoted text.
    error: Option<String>,
    count: u64,
    first_at: String,
    last_at: String,
    /// The id of one of them.
    example: String,
}

/// An order for many calls.
#[derive(ToSchema)]
struct BulkOrder {
    /// `replay`, `cancel` or `resolve`.
    action: String,
    filter: CallFilter,
    /// Only count.
    dry_run: Option<bool>,
    /// As in `50/s`, `100/m`, `1000/h`.
    rate: Option<String>,
    /// So many go first and must succeed.
    canary: Option<u32>,
    /// The job stops when more than this share of its calls fail; above 0, up to 1.
    stop_at_failure_rate: Option<f64>,
    note: Option<String>,
    /// `same` or `new`, for replays.
    idempotency_key: Option<String>,
}

/// Which calls. All conditions hold together; without a status and ids: those in review.
#[derive(ToSchema)]
struct CallFilter {
    status: Option<Value>,
    endpoint: Option<String>,
    publisher: Option<String>,
    provider: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    dry_run: Option<bool>,
    tags: Option<BTreeMap<String, String>>,
    from: Option<String>,
    to: Option<String>,
    q: Option<String>,
    ids: Option<Vec<String>>,
}

/// How many calls a job would be for.
#[derive(ToSchema)]
struct BulkCount {
    count: u64,
    by_endpoint: BTreeMap<String, u64>,
    by_status: BTreeMap<String, u64>,
    /// Up to five of them.
    #[schema(value_type = Vec<crate::api::render::CallView>)]
    sample: Vec<Value>,
}

/// A job for many calls.
#[derive(ToSchema)]
struct BulkJob {
    id: String,
    action: String,
    idempotency_key: String,
    filter: Value,
    /// `canary`, `running`, `done`, `aborted` or `stopped`.
    status: String,
    /// Why it ended early.
    reason: Option<String>,
    actor: String,
    note: String,
    rate: String,
    canary: u32,
    stop_at_failure_rate: Option<f64>,
    total: u64,
    acted: u64,
    skipped: u64,
    succeeded: u64,
    failed: u64,
    pending: u64,
    created_at: String,
    updated_at: String,
    finished_at: Option<String>,
}

/// A page of jobs.
#[derive(ToSchema)]
struct BulkPage {
    jobs: Vec<BulkJob>,
    next_cursor: Option<String>,
}

/// A page of a job's calls.
#[derive(ToSchema)]
struct BulkCalls {
    calls: Vec<CallOfJob>,
    next_cursor: Option<String>,
}

/// What became of one call of a job.
#[derive(ToSchema)]
struct CallOfJob {
    call: String,
    /// `waiting`, `acted`, `succeeded`, `failed` or `skipped`.
    result: String,
    detail: Option<String>,
}

/// A page of the audit log.
#[derive(ToSchema)]
struct Audit {
    entries: Vec<AuditEntry>,
    next_cursor: Option<String>,
}

/// What somebody did.
#[derive(ToSchema)]
struct AuditEntry {
    id: String,
    at: String,
    actor: String,
    action: String,
    /// The call it was done to.
    call: Option<String>,
    /// What else it was done to.
    subject: Option<String>,
    note: String,
    detail: Option<String>,
}

/// All endpoints.
#[derive(ToSchema)]
struct Endpoints {
    endpoints: Vec<Endpoint>,
    /// What became of the configuration file.
    configuration: Value,
}

/// What is configured.
#[derive(ToSchema)]
struct ConfigurationInForce {
    /// By name, in the words of the configuration file.
    endpoints: BTreeMap<String, Value>,
    /// Shortest first.
    tiers: Vec<String>,
    /// The endpoints of each lane.
    lanes: BTreeMap<String, Vec<String>>,
    /// The lanes that one process at a time consumes.
    single_lanes: Vec<String>,
    /// What became of the configuration file.
    configuration: Value,
}

/// A third party as configured, and how it has been doing.
#[derive(ToSchema)]
struct Endpoint {
    name: String,
    base_url: Option<String>,
    /// What submissions may name, where the endpoint knows no host of its own.
    allowed_hosts: Option<Vec<String>>,
    strategy: String,
    duplicates: String,
    dry_run: bool,
    ladder: Vec<String>,
    timeout: Timeout,
    lease_ms: u64,
    concurrency: u64,
    on_ambiguous: String,
    idempotency_window_ms: Option<u64>,
    /// In the order in which they are asked.
    rules: Vec<Value>,
    /// How the third party is asked what became of an attempt.
    confirm: Option<Value>,
    /// Whether it reports results by itself.
    takes_callbacks: bool,
    idempotency_header: String,
    /// Names only: values are secrets.
    headers: Vec<String>,
    lane: String,
    rate_limit: Option<String>,
    /// `active`: calls go out; `held`: none does; `probing`: one does; `ramping`: they do again, a few at first.
    state: String,
    hold: Option<HoldSeen>,
    /// State and settings; null where there is none.
    breaker: Option<Value>,
    backlog: Backlog,
    /// Calls that are being attempted, in all processes.
    running: u64,
    recent: Recent,
    providers: Vec<ProviderSeen>,
}

/// How long an attempt may take.
#[derive(ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Timeout {
    connect_ms: u64,
    read_ms: u64,
    /// Where it is learned: the ceiling.
    overall_ms: u64,
    adaptive_floor_ms: Option<u64>,
}

/// What holds an endpoint.
#[derive(ToSchema)]
struct HoldSeen {
    /// `paused`, `limited` or `breaker`.
    kind: String,
    since: String,
    until: Option<String>,
    by: Option<String>,
    note: Option<String>,
}

/// What waits.
#[derive(ToSchema)]
struct Backlog {
    scheduled: u64,
    /// Of those, the ones that are due.
    due: u64,
}

/// The last minutes.
#[derive(ToSchema)]
struct Recent {
    window_s: u64,
    attempts: u64,
    success_rate: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    /// Attempts by the upper bound of their duration in ms.
    latency_buckets: BTreeMap<String, u64>,
    by_verdict: BTreeMap<String, u64>,
    /// By HTTP status or kind of failure.
    errors: BTreeMap<String, u64>,
}

/// One of several vendors.
#[derive(ToSchema)]
struct ProviderSeen {
    name: String,
    weight: Option<u32>,
    /// What a call costs.
    cost: Option<f64>,
    /// Its share of the attempts, 0 to 1.
    share: Option<f64>,
    attempts: u64,
    success_rate: Option<f64>,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    cost_total: f64,
    errors: BTreeMap<String, u64>,
    base_url: Option<String>,
    /// That of the process that answers.
    breaker: Option<String>,
}

/// Everything at a glance.
#[derive(ToSchema)]
struct Stats {
    /// When it was counted.
    at: String,
    /// By status.
    calls: BTreeMap<String, u64>,
    /// In the log.
    attempts: u64,
    rates: Rates,
    /// By endpoint.
    waiting: BTreeMap<String, Backlog>,
    /// Attempts in flight in the process that answers.
    running_here: i64,
    /// Messages by queue.
    depths: Option<Value>,
    broker_away: bool,
}

/// How fast it goes since an earlier look, at the first over the last minute; null where that is not known.
#[derive(ToSchema)]
struct Rates {
    attempts_per_second: Option<f64>,
    succeeded_per_second: Option<f64>,
}

/// What a rejected message is to be.
#[derive(ToSchema)]
struct Resubmission {
    /// In its place; absent: the message as it is.
    document: Option<Submission>,
}

/// What is to be forgotten.
#[derive(ToSchema)]
struct ErasureOrder {
    /// Calls with all these tags, at least one.
    tags: BTreeMap<String, String>,
    note: Option<String>,
    /// Only count.
    dry_run: Option<bool>,
}

/// Rules to try.
#[derive(ToSchema)]
struct JudgeOrder {
    /// In order; absent: those in force.
    rules: Option<Vec<JudgeRule>>,
    /// How many of the newest attempts: 1 to 1000, 100 unless given.
    last: Option<u32>,
}

/// A rule.
#[derive(ToSchema)]
struct JudgeRule {
    /// A CEL expression.
    when: String,
    verdict: String,
}

/// How rules would have judged.
#[derive(ToSchema)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Judged {
    judged: u64,
    changed: u64,
    /// The most frequent pair first.
    table: Vec<JudgedPair>,
    /// What is wrong with the rules.
    faults: Vec<String>,
}

/// Attempts with the same two verdicts.
#[derive(ToSchema)]
struct JudgedPair {
    old: String,
    new: String,
    count: u64,
    examples: Vec<JudgedExample>,
}

/// One of them.
#[derive(ToSchema)]
struct JudgedExample {
    call: String,
    attempt: u32,
}

/// Whatever the third party sends; the endpoint's `callback` says how it is read.
#[derive(ToSchema)]
struct ReportMessage {}

/// What became of a report.
#[derive(ToSchema)]
struct ReportResult {
    /// `settled`, `settled_with_its_attempt`, `kept` or `unknown`.
    result: String,
}

/// A token.
#[derive(ToSchema)]
struct Login {
    token: String,
}

/// Who asks.
#[derive(ToSchema)]
struct Session {
    name: String,
    roles: Vec<String>,
    /// Goes into the header `X-Redial-CSRF`; null where none is needed.
    csrf: Option<String>,
}

/// The process answers.
#[derive(ToSchema)]
struct Health {
    status: String,
}

/// Whether calls are taken and made.
#[derive(ToSchema)]
struct Readiness {
    /// `ok`, `degraded`, `starting`, `draining` or `unavailable`.
    status: String,
    /// `ledger` or `broker`.
    away: Vec<String>,
}
