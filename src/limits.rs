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
/// Faults of one document that are named; how many more there are is only counted.
pub const FAULTS_MAX: usize = 100;
/// Longest place and longest sentence of a fault, in bytes.
pub const FAULT_TEXT_BYTES_MAX: usize = 1_024;
/// Default bound of one submission, in bytes (`server.max_body`).
pub const SUBMISSION_BYTES_DEFAULT: usize = 1024 * 1024;
/// Most documents of one `POST /v1/calls/batch`.
pub const SUBMISSION_BATCH_MAX: usize = 1_000;
/// Longest note of an operator, in bytes.
pub const NOTE_BYTES_MAX: usize = 4 * 1024;

/// What the attempt log keeps of a response body, in bytes; the rest is only counted.
pub const RESPONSE_KEPT_BYTES: usize = 16 * 1024;
/// How much of a response body rules see, in bytes: a longer one is cut, and so no JSON to them.
pub const RESPONSE_JUDGED_BYTES: usize = 256 * 1024;
/// Most values, those inside of others counted, of a JSON document that rules see as one: each may be asked for.
pub const JSON_VALUES_JUDGED_MAX: usize = 8_192;
/// How far a response body is read; beyond it the connection is closed and the length is a lower bound.
pub const RESPONSE_READ_BYTES_MAX: u64 = 1024 * 1024;
/// What the attempt log keeps of all response headers together, in bytes.
pub const RESPONSE_HEADERS_KEPT_BYTES: usize = 8 * 1024;
/// Longest error sentence that is stored, in bytes.
pub const ERROR_BYTES_MAX: usize = 1_024;

/// Longest text of a template, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 16 * 1024;
/// What a template may make at most, in bytes: a whole submission, every byte of it escaped.
pub const TEMPLATE_OUTPUT_BYTES_MAX: usize = 6 * SUBMISSION_BYTES_DEFAULT;
/// Steps that filling in a template may take.
pub const TEMPLATE_FUEL: u64 = 100_000;

/// Longest condition of a rule, in bytes.
pub const CONDITION_BYTES_MAX: usize = 4 * 1024;
/// Deepest nesting of a condition once it is read; evaluating recurses as deep, on a task's stack.
pub const CONDITION_DEPTH_MAX: usize = 48;
/// The stack on which conditions are compiled: each byte of a text may nest once, and the parser takes kilobytes for each.
pub const CONDITION_STACK_BYTES: usize = 256 * 1024 * 1024;
/// Parts of a condition that may be evaluated for one answer, counted for the longest body that rules see.
pub const CONDITION_WORK_MAX: u64 = 2_000_000;
/// The stack on which a configuration is read: in broken TOML a dozen bytes may nest once, a file has up to 1 MiB, and the parser takes
/// kilobytes for each level. Only what is used of it takes memory.
pub const CONFIGURATION_STACK_BYTES: usize = 1024 * 1024 * 1024;
/// Most rules of one endpoint.
pub const RULES_MAX: usize = 100;
/// What the attempt log keeps of the rule that decided, and of the notes on rules that could not be asked, in bytes each.
pub const RULING_BYTES_MAX: usize = 1_024;

/// Attempts that rules are tried on where nothing is said, and at most.
pub const JUDGED_DEFAULT: usize = 100;
/// Most attempts that rules are tried on at once.
pub const JUDGED_MAX: usize = 1_000;
/// How long trying rules may take; what was not judged by then is left out.
pub const JUDGING_PATIENCE: Duration = Duration::from_secs(10);

/// Largest message in which a third party reports a result.
pub const REPORT_BYTES_MAX: usize = 256 * 1024;
/// What is kept of such a message, in bytes.
pub const REPORT_KEPT_BYTES: usize = 4 * 1024;
/// How long such a message waits for a running attempt to be closed: shorter than most senders wait for an answer.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks whether the attempt is closed.
pub const REPORT_LOOK_EVERY: Duration = Duration::from_millis(100);

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
/// A commit with this many calls waits for no more company: a larger one costs hardly less per call.
pub const COMMIT_BATCH_ENOUGH: usize = 64;
/// Commits of one kind that may be under way at once: PostgreSQL writes them to disk together.
pub const COMMITS_AT_ONCE: usize = 3;
/// How long a commit waits for company when the one before it was not alone.
pub const COMMIT_LINGER: Duration = Duration::from_millis(1);
/// How long submissions that came in a batch wait for the next slot to come free.
pub const SLOT_PATIENCE: Duration = Duration::from_millis(10);
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
/// How long the end of a look into a queue waits until what was looked at stands ready again.
pub const PEEK_RETURN_TIMEOUT: Duration = Duration::from_secs(2);
/// How often it looks whether that is so.
pub const PEEK_RETURN_LOOK_EVERY: Duration = Duration::from_millis(5);
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
/// Waiting tickets that the embedded transport keeps in memory, and due ones that it keeps for each lane; of the others the ledger knows.
pub const EMBEDDED_TIMERS_MAX: usize = 1_000_000;
/// Calls the sweeper takes up in one step.
pub const SWEEP_BATCH: usize = 500;

/// How often a process adds what it has counted to the ledger. Killed, it loses at most this much of its statistics.
pub const TALLY_EVERY: Duration = Duration::from_secs(2);
/// Minutes of endpoints and providers that a process counts in memory while the ledger is away.
pub const TALLY_KEYS_MAX: usize = 20_000;
/// How long tallies are kept: a week and a day, so that a week can be compared with the one before it began.
pub const TALLIES_KEPT: Duration = Duration::from_hours(192);
/// Tallies that one step of retention removes.
pub const TALLIES_REMOVED_AT_ONCE: usize = 5_000;
/// Furthest that `GET /v1/stats/history` looks back, in minutes.
pub const HISTORY_MINUTES_MAX: u32 = 1_440;
/// How far the statistics of an endpoint look back, in minutes.
pub const RECENT_MINUTES: u32 = 10;
/// Calls that one step of retention looks at: a statement over so many takes some milliseconds.
pub const RETENTION_BATCH: usize = 200;
/// The pause between two steps of retention, over all processes together.
pub const RETENTION_PAUSE: Duration = Duration::from_millis(100);
/// The pause between two walks of retention.
pub const RETENTION_REST: Duration = Duration::from_secs(30);
/// Calls that one step of an erasure blanks.
pub const ERASE_BATCH: usize = 100;
/// Rejected messages that are shown or searched at once.
pub const REJECTED_LOOK_MAX: usize = 1_000;
/// Rejected messages that a list shows without a limit of its own.
pub const REJECTED_PAGE_DEFAULT: usize = 50;
/// Headers of its publisher's own that a rejected message keeps.
pub const CARRIED_HEADERS_MAX: usize = 64;
/// How long they may be together, in bytes: a frame (128 KiB by default) must hold them and what Redial adds.
pub const CARRIED_HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Bodies of rejected messages that one list holds together, in bytes; the list ends with the message that fills it.
pub const REJECTED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Callbacks that are posted side by side.
pub const CALLBACKS_AT_ONCE: usize = 32;
/// Those of them that go to one host.
pub const CALLBACKS_AT_ONCE_TO_ONE_HOST: usize = 4;
/// A callback is given up after this many tries: with doubling pauses up to 16 minutes, about two days.
pub const CALLBACK_TRIES_MAX: u32 = 180;

/// Connections to the ledger for searches, beside those for deliveries.
pub const LOOKING_CONNECTIONS: u32 = 2;
/// Longest a search of the ledger may take.
pub const LOOKING_MAX: Duration = Duration::from_secs(10);

/// Connections to the API that are open at once. Whoever comes then waits until one is closed; idle ones are, after a while.
pub const API_CONNECTIONS_MAX: usize = 4_096;

/// Largest page of a list.
pub const PAGE_MAX: usize = 500;
/// Page of a list that names no limit.
pub const PAGE_DEFAULT: usize = 50;

/// Most groups of one answer; the smallest are left out.
pub const GROUPS_MAX: usize = 500;
/// Most lines of a request that a diff compares; what follows is only counted.
pub const DIFF_LINES_MAX: usize = 2_000;

/// Most calls of one bulk job.
pub const BULK_CALLS_MAX: u64 = 500_000;
/// Most calls that a bulk job's filter may name by id.
pub const BULK_IDS_MAX: usize = 1_000;
/// Fastest bulk job, in calls a second.
pub const BULK_RATE_MAX: u32 = 1_000;
/// Largest canary of a bulk job.
pub const BULK_CANARY_MAX: u32 = 1_000;
/// Calls that a bulk job acts on in one transaction.
pub const BULK_STEP_MAX: usize = 50;
/// Most calls of a bulk job whose outcome one statement writes down.
pub const BULK_SETTLED_AT_ONCE: usize = 2_000;
/// Bulk jobs that one process works on side by side.
pub const BULK_JOBS_AT_ONCE: usize = 16;
/// How long a process may work on a bulk job without saying so again; after it another process takes the job over.
pub const BULK_LEASE: Duration = Duration::from_secs(10);
/// How long a bulk job waits for its canary after the last canary call was acted on.
pub const BULK_CANARY_PATIENCE: Duration = Duration::from_mins(15);
/// Outcomes that must be known before a bulk job's failure rate counts.
pub const BULK_FAILURE_SAMPLE_MIN: u64 = 10;
/// How long a log-in to the console lasts.
pub const SESSION_MAX: Duration = Duration::from_hours(12);
/// Pages that may listen to this process's stream at once.
pub const STREAM_LISTENERS_MAX: usize = 256;
/// A stream is closed after this long; the page opens it again, and has to show its session again.
pub const STREAM_MAX: Duration = Duration::from_mins(15);

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

/// Pauses of a parked endpoint double each time in a row, up to so many times the first one. A probe costs a third party that is down
/// nothing, and a long pause costs the calls time when it is back.
pub const PARK_GROWTH_MAX: u32 = 2;
/// An endpoint is parked at least this long: a shorter pause would be over before other processes know of it.
pub const PARK_MIN: Duration = Duration::from_secs(1);
/// Longest park that no operator has asked for.
pub const PARK_MAX: Duration = RETRY_AFTER_MAX;
/// How long an endpoint is parked that asks for a pause without saying how long, where no breaker is configured.
pub const PARK_USUAL: Duration = Duration::from_secs(5);
/// How often every worker process looks which endpoints are held.
pub const HOLDS_LOOK_EVERY: Duration = Duration::from_millis(500);
/// A ticket of a held endpoint that is in hand is put off for at most this long: an operator may resume at any time.
pub const POSTPONE_MAX: Duration = Duration::from_secs(30);
/// How often calls of a held endpoint are looked at whose deadline has passed.
pub const EXPIRED_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Calls of an endpoint that has just been released go out again: so many in the first second, twice as many in each further one,
/// in each worker process.
pub const RAMP_FIRST: u32 = 10;
/// After so many seconds all may go out.
pub const RAMP_SECONDS: u64 = 10;
/// While calls go out again, so many failures are enough to park the endpoint once more.
pub const RAMP_MIN_CALLS: u32 = 5;
/// Failures whose rungs are given back when they turn out to have been the beginning of an outage.
pub const FAILURES_REMEMBERED: usize = 1_000;
/// What a rate-limited lane may catch up after a machine overslept.
pub const RATE_SLACK: Duration = Duration::from_millis(20);
/// Ticket messages of a rate-limited lane that its worker holds unacknowledged: few, because they are what a worker that has lost
/// the lane without knowing goes on with.
pub const SINGLE_LANE_PREFETCH: u16 = 4;
/// Answers that an adaptive timeout remembers.
pub const ADAPTIVE_ANSWERS: usize = 100;
/// Answers that an adaptive timeout has to know before it says anything.
pub const ADAPTIVE_ANSWERS_MIN: usize = 10;
/// An adaptive timeout that knows too little.
pub const ADAPTIVE_INITIAL: Duration = Duration::from_secs(2);
/// Of so many slots that are given while both wait, one goes to a retry and the others to first attempts.
pub const FIRSTS_TO_ONE_RETRY: u32 = 8;

/// How long a stopping process waits for attempts that are running.
pub const DRAIN_MAX: Duration = Duration::from_secs(30);
/// Longest pause between two tries to reach RabbitMQ or the database.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Longest `Prefer: wait`.
pub const PREFER_WAIT_MAX: Duration = Duration::from_mins(1);

const _: () = assert!(LEASE_MARGIN_DEFAULT.as_millis() >= LEASE_MARGIN_MIN.as_millis());
const _: () = assert!(LEASE_MAX.as_secs() > TIMEOUT_OVERALL_MAX.as_secs() + LEASE_MARGIN_DEFAULT.as_secs());
const _: () = assert!(RESPONSE_KEPT_BYTES <= RESPONSE_JUDGED_BYTES);
const _: () = assert!(RESPONSE_JUDGED_BYTES as u64 <= RESPONSE_READ_BYTES_MAX);
const _: () = assert!(CALLBACKS_AT_ONCE_TO_ONE_HOST < CALLBACKS_AT_ONCE);
const _: () = assert!(PAGE_DEFAULT <= PAGE_MAX);
const _: () = assert!(COMMIT_BATCH_ENOUGH <= COMMIT_BATCH_MAX);
const _: () = assert!(BUNDLE_TICKETS_MAX <= BUNDLE_TICKETS_READ_MAX);
