//! Every bound of the program in one place: sizes, batches, queues and waits.
//!
//! Nothing here is computed at run time. Relations between bounds that the design relies on are asserted at
//! compile time at the end of the file.

use std::time::Duration;

/// Longest idempotency key, publisher, entity key and tag value, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest endpoint name, in bytes (a DNS label, so that it can stand in queue names and routing keys).
pub const ENDPOINT_NAME_BYTES_MAX: usize = 63;
/// Longest request path with its query, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Most headers of one request.
pub const HEADERS_MAX: usize = 64;
/// All header names and values of one request together, in bytes.
pub const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// Most tags of one call.
pub const TAGS_MAX: usize = 32;
/// Longest tag key, in bytes.
pub const TAG_KEY_BYTES_MAX: usize = 64;
/// Deepest nesting of a submitted JSON document.
pub const JSON_DEPTH_MAX: usize = 64;
/// Default bound of one submission, in bytes (`server.max_body`).
pub const SUBMISSION_BYTES_DEFAULT: usize = 1024 * 1024;
/// Most documents of one `POST /v1/calls/batch`.
pub const SUBMISSION_BATCH_MAX: usize = 1_000;
/// Longest note of an operator, in bytes.
pub const NOTE_BYTES_MAX: usize = 4 * 1024;

/// What the attempt log keeps of a response body, in bytes; the rest is only counted.
pub const RESPONSE_KEPT_BYTES: usize = 16 * 1024;
/// How far a response body is read; beyond it the connection is closed and the length is a lower bound.
pub const RESPONSE_READ_BYTES_MAX: u64 = 1024 * 1024;
/// What the attempt log keeps of all response headers together, in bytes.
pub const RESPONSE_HEADERS_KEPT_BYTES: usize = 8 * 1024;
/// Longest error sentence that is stored, in bytes.
pub const ERROR_BYTES_MAX: usize = 1_024;

/// Most rungs of a ladder, repetitions counted.
pub const RUNGS_MAX: usize = 200;
/// Longest rung: RabbitMQ holds `x-message-ttl` in 32 bits of milliseconds.
pub const RUNG_MAX: Duration = Duration::from_millis(u32::MAX as u64);
/// Shortest rung.
pub const RUNG_MIN: Duration = Duration::from_millis(1);
/// Furthest that a `Retry-After` is followed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);
/// A call not finished this long after its submission goes to review, unless it names its own deadline.
pub const DEADLINE_DEFAULT: Duration = Duration::from_hours(168);
/// Furthest deadline and `not_before`, counted from submission.
pub const HORIZON_MAX: Duration = Duration::from_hours(8784);
/// A ticket this early counts as due: RabbitMQ's timers fire up to 1 ms early, clocks differ by a little more.
pub const EARLY_TOLERANCE: Duration = Duration::from_millis(5);

/// Most tickets of one ticket message.
pub const BUNDLE_TICKETS_MAX: usize = 64;
/// Most calls of one commit in the ledger.
pub const COMMIT_BATCH_MAX: usize = 256;
/// How long a commit waits for company when the one before it was not alone.
pub const COMMIT_LINGER: Duration = Duration::from_millis(1);
/// Requests that may wait for a commit of one kind; beyond it callers wait to ask.
pub const COMMIT_QUEUE: usize = 4_096;
/// Tickets that may wait to be published; beyond it callers wait to hand over.
pub const PUBLISH_QUEUE: usize = 4_096;
/// Messages published before their confirms are awaited.
pub const CONFIRM_WINDOW: usize = 256;
/// After this long without a confirm the outcome of a publish is unknown and its channel is given up.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// Channels that publish side by side, each with a window of its own.
pub const PUBLISH_CHANNELS: usize = 4;
/// How long opening a connection to RabbitMQ may take.
pub const BROKER_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a question to RabbitMQ (opening a channel, declaring, counting) may take.
pub const BROKER_ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long saying goodbye to RabbitMQ may take.
pub const BROKER_CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// RabbitMQ and this program each declare the other dead after two to three of these.
pub const BROKER_HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a consumer waits before it asks again for a queue that is not there.
pub const CONSUME_AGAIN_PAUSE: Duration = Duration::from_millis(500);
/// How often a consumer that gets nothing looks whether its subscription still lives.
pub const CONSUME_LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rounds of ticket messages whose confirms are awaited at once. More would make bundles smaller, and messages are the cost.
pub const BUNDLE_ROUNDS: usize = 2;
/// How long a round of tickets waits for company when the one before it was not alone.
pub const BUNDLE_LINGER: Duration = Duration::from_millis(1);
/// Tickets that are read from one message. We write at most [`BUNDLE_TICKETS_MAX`]; a forged message holds no more than this.
pub const BUNDLE_TICKETS_READ_MAX: usize = 1_024;
/// Events that the review queue keeps; beyond it the oldest are dropped (the ledger has every call).
pub const REVIEW_QUEUE_LENGTH: i64 = 10_000;
/// Times a submission or replay order may come back before it is set aside; each crash or lost connection counts.
pub const DELIVERIES_MAX: i64 = 100;
/// The same for queues that Redial does not consume, or whose loss the sweeper makes good: only there so that 4.x does not drop
/// at its default of 20, which a person who looks into the queue from the management UI would reach.
pub const DELIVERIES_AMPLE: i64 = 1_000_000;
/// Ticket messages of one lane that a worker holds unacknowledged.
pub const LANE_PREFETCH: u16 = 32;
/// Submissions that intake holds unacknowledged.
pub const INTAKE_PREFETCH: u16 = 1_024;
/// Waiting tickets that the embedded transport keeps in memory; what is due later is refilled from the ledger.
pub const EMBEDDED_TIMERS_MAX: usize = 1_000_000;
/// Calls the sweeper takes up in one step.
pub const SWEEP_BATCH: usize = 500;

/// Callbacks that are posted side by side.
pub const CALLBACKS_AT_ONCE: usize = 32;
/// A callback is given up after this many tries: with doubling pauses up to 16 minutes, about two days.
pub const CALLBACK_TRIES_MAX: u32 = 180;

/// Largest page of a list.
pub const PAGE_MAX: usize = 500;
/// Page of a list that names no limit.
pub const PAGE_DEFAULT: usize = 50;

/// A lease is at least this much longer than the overall timeout of one attempt: time to claim and to record.
pub const LEASE_MARGIN_MIN: Duration = Duration::from_secs(1);
/// The lease's margin over the overall timeout where the configuration names no lease.
pub const LEASE_MARGIN_DEFAULT: Duration = Duration::from_secs(5);
/// Longest overall timeout of one attempt.
pub const TIMEOUT_OVERALL_MAX: Duration = Duration::from_mins(10);
/// Longest lease.
pub const LEASE_MAX: Duration = Duration::from_hours(1);
/// Most attempts of one endpoint in flight in one process.
pub const CONCURRENCY_MAX: usize = 10_000;
/// An idle connection to a third party is closed after this long; common servers close theirs after 5 s, and a
/// request on a connection that is just being closed has an unknown outcome.
pub const POOL_IDLE: Duration = Duration::from_secs(4);

/// How long a stopping process waits for attempts that are running.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Longest pause between two tries to reach RabbitMQ or the database.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest `Prefer: wait`.
pub const PREFER_WAIT_MAX: Duration = Duration::from_mins(1);

const _: () = assert!(LEASE_MARGIN_DEFAULT.as_millis() >= LEASE_MARGIN_MIN.as_millis());
const _: () = assert!(LEASE_MAX.as_secs() > TIMEOUT_OVERALL_MAX.as_secs() + LEASE_MARGIN_DEFAULT.as_secs());
const _: () = assert!(RESPONSE_KEPT_BYTES as u64 <= RESPONSE_READ_BYTES_MAX);
const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);
const _: () = assert!(BUNDLE_TICKETS_MAX <= BUNDLE_TICKETS_READ_MAX);
