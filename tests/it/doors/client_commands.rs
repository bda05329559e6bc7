//! The command line against a running server: what people and programs get, and the exit code scripts go by.

use serde_json::{Value, json};

use crate::support::amqp_client::{AmqpClient, json_properties};
use crate::support::in_process::{Service, Setup, in_an_hour, keyed, to};
use crate::support::program::{Ended, Workplace};
use crate::support::wait_for;

/// A server and a place to run commands against it.
struct Bench {
    service: Service,
    place: Workplace,
}

impl Bench {
    async fn new() -> Self {
        Self { service: Setup::embedded().start().await, place: Workplace::new() }
    }

    /// Runs a command with the token of somebody who may do everything.
    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_as("tester", arguments).await
    }

    async fn run_as(&self, token: &str, arguments: &[&str]) -> Ended {
        let server = self.service.url("");
        self.place.run_with(arguments, &[("REDIAL_SERVER", &server), ("REDIAL_TOKEN", token)]).await
    }

    /// Runs a command for a program: exit code 0, one document.
    async fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat()).await.with(0);
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
    }

    /// The id of a call that waits for a person.
    async fn stuck(&self, key: &str) -> String {
        let id = self.service.submit(&keyed(key, "/status/422")).await;
        self.service.call_in(&id, "review").await;
        id
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_listed_for_people_and_for_programs() {
    let bench = Bench::new().await;
    let stuck = bench.stuck("order-7").await;
    let waiting = bench.service.submit(&in_an_hour("order-8")).await;

    let table = bench.run(&["calls", "list"]).await.with(0).out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("id ") && lines[0].ends_with("why"), "{table}");
    assert!(lines[1].starts_with(&waiting) && lines[1].contains("scheduled"), "{table}");
    for part in [stuck.as_str(), "review", "sms", "order-7", "rejected; the third party answered 422"] {
        assert!(lines[2].contains(part), "{part} in {table}");
    }

    let document = bench.json(&["calls", "list", "--status", "review"]).await;
    assert_eq!(document, bench.service.get("/v1/calls?status=review").await.body);
    for (conditions, count) in [
        (&["--status", "review,scheduled", "--endpoint", "sms"][..], 2),
        (&["--reason", "rejected"], 1),
        (&["--reason", "exhausted"], 0),
        (&["-q", "order-8"], 1),
        (&["--publisher", "tester", "--from", "1h"], 2),
        (&["--to", "2020-01-01T00:00:00Z"], 0),
        (&["--tag", "shop=1"], 0),
        (&["--limit", "1"], 1),
    ] {
        let list = bench.json(&[&["calls", "list"], conditions].concat()).await;
        assert_eq!(list["calls"].as_array().unwrap().len(), count, "{conditions:?}");
    }
    let none = bench.run(&["calls", "list", "--reason", "exhausted"]).await.with(0);
    assert_eq!((none.out.as_str(), none.err.trim()), ("", "nothing matches"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_are_followed_and_a_single_one_says_that_there_are_more() {
    let bench = Bench::new().await;
    let documents: Vec<Value> = (0..501).map(|number| in_an_hour(&format!("k{number}"))).collect();
    bench.place.write("calls.json", &json!(documents).to_string());
    let submitted = bench.run(&["calls", "submit", "calls.json"]).await.with(0);
    assert!(submitted.err.contains("501 accepted, 0 known before, 0 refused"), "{submitted:?}");

    let all = bench.json(&["calls", "list", "--all"]).await;
    assert_eq!((all["calls"].as_array().unwrap().len(), &all["next_cursor"]), (501, &Value::Null));
    let table = bench.run(&["calls", "list", "--all"]).await.with(0).out;
    assert_eq!(table.lines().filter(|line| line.contains("scheduled")).count(), 501);

    let first = bench.run(&["calls", "list", "--limit", "2"]).await.with(0);
    assert_eq!(first.out.lines().count(), 3);
    let hint = first.err.split_whitespace().skip_while(|word| *word != "--cursor").nth(1).unwrap();
    let cursor = hint.trim_end_matches(',');
    let next = bench.json(&["calls", "list", "--limit", "2", "--cursor", cursor]).await;
    assert_ne!(next["calls"][0]["id"], all["calls"][0]["id"]);
    assert_eq!(next["calls"][0]["id"], all["calls"][2]["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_shown_with_its_story() {
    let bench = Bench::new().await;
    let id = bench.stuck("order-7").await;
    let shown = bench.run(&["calls", "show", &id]).await.with(0).out;
    for part in [
        "status      review",
        "reason      rejected",
        "last error  the third party answered 422",
        "POST /status/422",
        "\"text\": \"hello\"",
        "attempts\nnumber  verdict",
    ] {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    let attempt = bench.run(&["calls", "show", &id, "--attempt", "1"]).await.with(0).out;
    assert!(
        attempt.contains("/status/422") && attempt.contains("content-type: application/json"),
        "{attempt}"
    );
    assert!(!attempt.contains(crate::support::in_process::ENDPOINT_SECRET), "{attempt}");
    bench.run(&["calls", "show", &id, "--attempt", "2"]).await.with(2);
    assert_eq!(bench.json(&["calls", "show", &id]).await, bench.service.call(&id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_submitted_from_flags_from_a_file_and_from_both() {
    let bench = Bench::new().await;
    let arguments = [
        "calls",
        "submit",
        "--endpoint",
        "sms",
        "--method",
        "PUT",
        "--path",
        "/echo",
        "--header",
        "x-tenant=7",
        "--body",
        r#"{"z":1.50,"a":12345678901234567890}"#,
        "--tag",
        "order=1",
        "--key",
        "k1",
        "--wait",
        "10",
    ];
    let call = bench.json(&arguments).await;
    assert_eq!((&call["status"], &call["tags"]["order"]), (&json!("succeeded"), &json!("1")));
    let seen = bench.service.seen("k1").remove(0);
    assert_eq!(seen.method.as_str(), "PUT");
    // What was typed is what the third party got: order and digits are the publisher's.
    assert_eq!(String::from_utf8_lossy(&seen.body), r#"{"z":1.50,"a":12345678901234567890}"#);

    let known = bench.run(&arguments).await.with(0);
    assert!(known.err.contains("known before"), "{known:?}");

    bench.place.write("call.json", &keyed("k2", "/ok").to_string());
    bench.place.write("body", "a=1&b=2");
    let laid_over = [
        "calls",
        "submit",
        "call.json",
        "--key",
        "k3",
        "--raw-body",
        "@body",
        "--header",
        "content-type=application/x-www-form-urlencoded",
        "--wait",
        "10",
    ];
    let shown = bench.run(&laid_over).await.with(0).out;
    assert!(shown.contains("key         k3") && shown.contains("succeeded"), "{shown}");
    assert_eq!(String::from_utf8_lossy(&bench.service.seen("k3").remove(0).body), "a=1&b=2");
    assert!(bench.service.seen("k2").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_with_every_fault_and_its_place() {
    let bench = Bench::new().await;
    let wrong = ["calls", "submit", "--endpoint", "smx", "--path", "ok"];
    let refused = bench.run(&wrong).await.with(1);
    assert!(refused.err.contains("the server finds 2 faults"), "{refused:?}");
    for pointer in ["\n  /endpoint: ", "\n  /request/path: "] {
        assert!(refused.err.contains(pointer), "{refused:?}");
    }
    let refused = bench.run(&[&wrong[..], &["--json"]].concat()).await.with(1);
    let document: Value = serde_json::from_str(&refused.out).unwrap();
    assert_eq!(document["faults"].as_array().unwrap().len(), 2, "{document}");

    bench
        .place
        .write("calls.json", &json!([to("/ok"), { "endpoint": "smx" }, keyed("k", "/ok")]).to_string());
    let some = bench.run(&["calls", "submit", "calls.json"]).await.with(1);
    assert!(
        some.err.contains("document 1: ") && some.err.contains("2 accepted, 0 known before, 1 refused"),
        "{some:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_replays_cancels_and_resolves() {
    let bench = Bench::new().await;
    let (mended, given_up, done) = (bench.stuck("a").await, bench.stuck("b").await, bench.stuck("c").await);
    let replayed = [
        "calls",
        "replay",
        &mended,
        "--request",
        r#"{"path":"/ok"}"#,
        "--note",
        "the path was wrong",
        "--if-revision",
        "1",
    ];
    bench.run(&replayed).await.with(0);
    let call = bench.service.call_in(&mended, "succeeded").await;
    assert_eq!((&call["actions"][0]["note"], &call["revision"]), (&json!("the path was wrong"), &json!(2)));
    let shown = bench.run(&["calls", "show", &mended]).await.with(0).out;
    assert!(shown.contains("revision 1, replaced") && shown.contains("the path was wrong"), "{shown}");

    let cancelled = bench.run(&["calls", "cancel", &given_up]).await.with(0).out;
    assert!(cancelled.contains("cancelled"), "{cancelled}");
    let resolved = bench.json(&["calls", "resolve", &done, "--note", "by telephone"]).await;
    assert_eq!(resolved["status"], "resolved");

    // One that is refused does not keep the other from its turn.
    let waiting = bench.service.submit(&in_an_hour("d")).await;
    let both = bench.run(&["calls", "cancel", &mended, &waiting]).await.with(4);
    assert!(both.err.contains(&mended) && both.out.contains(&waiting), "{both:?}");
    assert_eq!(bench.service.call(&waiting).await["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_taken_over_shows_how_it_had_failed() {
    let bench = Bench::new().await;
    let mut document = in_an_hour("taken-over");
    document["failure"] =
        json!({ "error": "connection reset by peer", "status": 503, "attempts": 3, "ambiguous": true });
    let id = bench.service.submit(&document).await;
    let shown = bench.run(&["calls", "show", &id]).await.with(0).out;
    for part in ["failed before it was handed over", "connection reset by peer", "503", "it may have arrived"]
    {
        assert!(shown.contains(part), "{part:?} in\n{shown}");
    }
    let listed = bench.run(&["calls", "list"]).await.with(0).out;
    assert!(listed.contains("connection reset by peer"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_that_answers_200_is_not_taken_for_a_redial() {
    let place = Workplace::new();
    let program = place.start(&["simulate", "--listen", "127.0.0.1:0"], &[]);
    let simulator = program.url().await;
    let id = uuid::Uuid::now_v7().to_string();
    let cases: [(&[&str], &str); 5] = [
        (&["groups"], "groups"),
        (&["groups", "--json"], "groups"),
        (&["calls", "cancel", &id], "id"),
        (&["endpoints", "list"], "endpoints"),
        (&["rejected", "list"], "messages"),
    ];
    for (arguments, member) in cases {
        let ended = place.run_with(arguments, &[("REDIAL_SERVER", &simulator)]).await.with(1);
        assert!(ended.err.contains(&format!("has no member {member:?}")), "{arguments:?}: {ended:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
    program.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_code_says_what_kind_of_failure_it_was() {
    let bench = Bench::new().await;
    let id = bench.stuck("k").await;
    let nobody = uuid::Uuid::now_v7().to_string();
    let cases: [(&str, &[&str], i32); 12] = [
        ("tester", &["calls", "show", "seven"], 1),
        ("tester", &["calls", "list", "--tag", "x"], 2),
        ("tester", &["calls", "submit"], 2),
        ("tester", &["calls", "submit", "no-such-file"], 2),
        ("tester", &["bulk", "start", "replay", "--yes"], 2),
        ("tester", &["calls", "list", "--server", "localhost:80"], 2),
        ("tester", &["calls", "show", &nobody], 3),
        ("tester", &["endpoints", "show", "smx"], 3),
        ("tester", &["calls", "cancel", &id, "--if-revision", "9"], 4),
        ("tester", &["calls", "list", "--server", "http://127.0.0.1:9"], 5),
        ("wrong", &["calls", "list"], 6),
        ("auditor", &["calls", "cancel", &id], 6),
    ];
    for (token, arguments, code) in cases {
        let ended = bench.run_as(token, arguments).await;
        assert_eq!(ended.code, code, "{arguments:?}: {ended:?}");
        assert!(ended.err.starts_with("error: "), "{arguments:?}: {ended:?}");
        assert_eq!(ended.out, "", "{arguments:?}");
    }
    let help = bench.run(&["calls", "--help"]).await.with(0).out;
    assert!(help.contains("Exit codes: 0 done; 1 failed"), "{help}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_lie_in_a_file() {
    let bench = Bench::new().await;
    bench.place.write("token", "auditor\n");
    bench.run_as("file:token", &["calls", "list"]).await.with(0);
    let missing = bench.run_as("file:nowhere", &["calls", "list"]).await.with(2);
    assert!(missing.err.contains("nowhere"), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_is_accepted_by_a_server_that_is_configured_with_it() {
    let place = Workplace::new();
    let made = place.run(&["token", "new", "night.shift", "--roles", "view,operate"]).await.with(0);
    let (token, lines) = made.out.split_once("\n\n").unwrap();
    assert!(token.starts_with("rdl_") && token.len() == 47, "{token}");
    let another = place.run(&["token", "new", "x", "--roles", "view", "--json"]).await.with(0).out;
    let another: Value = serde_json::from_str(&another).unwrap();
    assert_ne!(another["token"], token);

    let service = Setup::embedded().with(&format!("\n{lines}\n")).start().await;
    let server = service.url("");
    let run = |token: String, arguments: Vec<&'static str>| {
        let (place, server) = (&place, &server);
        async move { place.run_with(&arguments, &[("REDIAL_SERVER", server), ("REDIAL_TOKEN", &token)]).await }
    };
    run(token.to_owned(), vec!["calls", "list"]).await.with(0);
    run(token.to_owned(), vec!["calls", "submit", "--endpoint", "sms", "--path", "/ok"]).await.with(6);
    run(another["token"].as_str().unwrap().to_owned(), vec!["calls", "list"]).await.with(6);

    for wrong in [
        &["token", "new", "x"][..],
        &["token", "new", "x", "--roles", "boss"],
        &["token", "new", "", "--roles", "view"],
    ] {
        place.run(wrong).await.with(2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_are_listed_and_shown() {
    let bench = Bench::new().await;
    bench.service.submit(&in_an_hour("k")).await;
    let table = bench.run(&["endpoints", "list"]).await.with(0).out;
    let names: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["careful", "patient", "sms"]);
    let shown = bench.run(&["endpoints", "show", "patient"]).await.with(0).out;
    assert!(shown.contains("ladder") && shown.contains("1s, 1s"), "{shown}");
    let document = bench.json(&["endpoints", "show", "sms"]).await;
    assert_eq!((&document["name"], &document["backlog"]["scheduled"]), (&json!("sms"), &json!(1)));
    assert_eq!(bench.json(&["endpoints", "list"]).await["endpoints"].as_array().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn top_prints_one_frame_where_there_is_no_terminal() {
    let bench = Bench::new().await;
    bench.stuck("k").await;
    bench.service.submit(&in_an_hour("later")).await;
    for arguments in [&["top", "--once"][..], &["top"]] {
        let frame = bench.run(arguments).await.with(0).out;
        for part in [
            "redial top  http://",
            "scheduled               1",
            "review                  1",
            " endpoints ",
            "patient",
            " tiers ",
            "200ms",
            " needs a person ",
        ] {
            assert!(frame.contains(part), "{part:?} in\n{frame}");
        }
        assert!(!frame.contains('\u{1b}'), "{frame}");
        assert!(frame.lines().all(|line| line.chars().count() <= 120), "{frame}");
    }
    let server = bench.service.url("");
    let narrow = [("REDIAL_SERVER", server.as_str()), ("REDIAL_TOKEN", "tester"), ("COLUMNS", "80")];
    let frame = bench.place.run_with(&["top", "--once"], &narrow).await.with(0).out;
    assert!(frame.lines().all(|line| line.chars().count() <= 80), "{frame}");
    let documents = bench.json(&["top"]).await;
    assert_eq!(documents["stats"]["calls"]["review"], 1, "{documents}");
    bench.run_as("wrong", &["top", "--once"]).await.with(6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_fit_the_width_that_there_is_and_have_no_colours_in_a_pipe() {
    let bench = Bench::new().await;
    bench.stuck("k").await;
    let server = bench.service.url("");
    let narrow = [("REDIAL_SERVER", server.as_str()), ("REDIAL_TOKEN", "tester"), ("COLUMNS", "100")];
    let table = bench.place.run_with(&["calls", "list"], &narrow).await.with(0).out;
    assert!(table.lines().count() > 2 && table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(!table.contains('\u{1b}'), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shell_gets_its_completions() {
    let place = Workplace::new();
    for (shell, sign) in [
        ("bash", "complete -F _redial"),
        ("zsh", "#compdef redial"),
        ("fish", "complete -c redial"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion"),
    ] {
        let script = place.run(&["completions", shell]).await.with(0).out;
        assert!(script.contains(sign) && script.contains("resubmit"), "{shell}");
    }
    place.run(&["completions", "csh"]).await.with(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_person_is_shown_in_groups() {
    let bench = Bench::new().await;
    let none = bench.run(&["groups"]).await.with(0);
    assert_eq!((none.out.as_str(), none.err.trim()), ("", "nothing waits for a person"));
    bench.stuck("a").await;
    bench.stuck("b").await;
    let table = bench.run(&["groups"]).await.with(0).out;
    let row = table.lines().nth(1).unwrap();
    assert!(row.starts_with("2 ") && row.contains("sms") && row.contains("rejected"), "{table}");
    let document = bench.json(&["groups", "--endpoint", "sms"]).await;
    let error = document["groups"][0]["error"].as_str().unwrap().to_owned();
    // What a group shows is what picks its calls.
    let list = bench.json(&["calls", "list", "--error", &error]).await;
    assert_eq!(list["calls"].as_array().unwrap().len(), 2, "{document}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_job_is_previewed_started_and_watched_to_its_end() {
    let bench = Bench::new().await;
    let ids = [bench.stuck("a").await, bench.stuck("b").await];
    let conditions = ["bulk", "start", "resolve", "--status", "review", "--endpoint", "sms"];
    let preview = bench.run(&[&conditions[..], &["--dry-run"]].concat()).await.with(0);
    assert!(preview.out.contains("calls        2") && preview.out.contains(&ids[0]), "{preview:?}");
    let counted = bench.json(&[&conditions[..], &["--dry-run"]].concat()).await;
    assert_eq!((&counted["count"], &counted["by_endpoint"]["sms"]), (&json!(2), &json!(2)));

    // There is no terminal to ask at, and nobody said yes.
    let unasked = bench.run(&conditions).await.with(2);
    assert!(unasked.err.contains("--yes") && unasked.out.is_empty(), "{unasked:?}");
    assert_eq!(bench.service.count("status=review").await, 2);

    let watched = [&conditions[..], &["--yes", "--watch", "--note", "by telephone"]].concat();
    let watched = bench.run(&watched).await.with(0);
    assert!(watched.out.contains("status       done") && watched.out.contains("succeeded"), "{watched:?}");
    assert_eq!(bench.service.count("status=resolved").await, 2);

    let jobs = bench.json(&["bulk", "list"]).await;
    let job = jobs["jobs"][0]["id"].as_str().unwrap();
    assert_eq!((&jobs["jobs"][0]["note"], &jobs["jobs"][0]["acted"]), (&json!("by telephone"), &json!(2)));
    assert!(bench.run(&["bulk", "list"]).await.with(0).out.contains(job));
    assert!(bench.run(&["bulk", "show", job]).await.with(0).out.contains("by telephone"));
    let calls = bench.run(&["bulk", "show", job, "--calls"]).await.with(0).out;
    assert!(ids.iter().all(|id| calls.contains(id)), "{calls}");
    assert_eq!(bench.json(&["bulk", "watch", job]).await["status"], "done");
    // It has ended, so it cannot be aborted.
    bench.run(&["bulk", "abort", job]).await.with(4);
    bench.run(&["bulk", "show", &uuid::Uuid::now_v7().to_string()]).await.with(3);

    let nothing = bench.run(&conditions).await.with(0);
    assert!(nothing.err.contains("nothing matches"), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_job_that_is_aborted_ends_its_watch_with_1() {
    let bench = Bench::new().await;
    for key in ["a", "b", "c"] {
        bench.stuck(key).await;
    }
    let slowly = ["bulk", "start", "cancel", "--status", "review", "--rate", "1/h", "--yes"];
    let job = bench.json(&slowly).await["id"].as_str().unwrap().to_owned();
    let aborted = bench.run(&["bulk", "abort", &job, "--note", "too early"]).await.with(0).out;
    assert!(aborted.contains("aborted") && aborted.contains("too early"), "{aborted}");
    let watched = bench.run(&["bulk", "watch", &job]).await.with(1);
    assert!(watched.out.contains("status       aborted"), "{watched:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_says_who_did_what_and_why() {
    let bench = Bench::new().await;
    let id = bench.stuck("a").await;
    bench.run_as("operator", &["calls", "cancel", &id, "--note", "no longer wanted"]).await.with(0);
    let table = bench.run(&["audit"]).await.with(0).out;
    let row = table.lines().nth(1).unwrap();
    for part in ["operator", "cancel", &id, "no longer wanted"] {
        assert!(row.contains(part), "{part} in {table}");
    }
    let entries = bench.json(&["audit", "--actor", "operator", "--action", "cancel", "--from", "1h"]).await;
    assert_eq!(entries["entries"].as_array().unwrap().len(), 1, "{entries}");
    assert_eq!(bench.json(&["audit", "--actor", "nobody", "--all"]).await["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasing_is_counted_first_and_confirmed() {
    let bench = Bench::new().await;
    let mut document = keyed("a", "/ok");
    document["tags"] = json!({ "customer": "7" });
    let id = bench.service.submit(&document).await;
    bench.service.call_in(&id, "succeeded").await;
    let counted = bench.json(&["erase", "--tag", "customer=7", "--dry-run"]).await;
    assert_eq!((&counted["calls"], &counted["attempts"]), (&json!(1), &json!(1)));
    bench.run(&["erase", "--tag", "customer=7"]).await.with(2);
    assert_eq!(bench.service.call(&id).await["request"]["body"]["text"], "hello");
    let erased = bench.run(&["erase", "--tag", "customer=7", "--yes", "--note", "asked for"]).await.with(0);
    assert!(erased.out.contains("calls                1") && erased.err.contains("erased"), "{erased:?}");
    assert!(!bench.service.call(&id).await.to_string().contains("hello"));
    bench.run(&["erase", "--tag", "customer=8", "--yes"]).await.with(0);
    bench.run(&["erase"]).await.with(2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejected_messages_are_listed_corrected_and_discarded() {
    let service = Setup::rabbitmq().await.start().await;
    let bench = Bench { service, place: Workplace::new() };
    let none = bench.run(&["rejected", "list"]).await.with(0);
    assert_eq!((none.out.as_str(), none.err.trim()), ("", "nothing was rejected"));
    let client = AmqpClient::connect(bench.service.broker_url()).await;
    let submit = bench.service.names().submit();
    for key in ["a", "b"] {
        let properties = json_properties().with_app_id("shop".into()).with_message_id(key.into());
        client.publish(&submit, "sms", properties, br#"{"endpoint":"smss","request":{"path":"/ok"}}"#).await;
    }
    let list = wait_for("both are rejected", || async {
        let list = bench.json(&["rejected", "list"]).await;
        (list["messages"].as_array()?.len() == 2).then_some(list)
    })
    .await;
    let table = bench.run(&["rejected", "list"]).await.with(0).out;
    assert!(table.contains("unknown_endpoint") && table.contains("shop"), "{table}");
    let ids: Vec<&str> =
        list["messages"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap()).collect();
    let shown = bench.run(&["rejected", "show", ids[0]]).await.with(0).out;
    assert!(shown.contains("\"endpoint\": \"smss\""), "{shown}");

    client.publish(&submit, "sms", json_properties(), b"\xff\xfe").await;
    let bytes = wait_for("what is no text is rejected too", || async {
        let list = bench.json(&["rejected", "list"]).await;
        let mut messages = list["messages"].as_array()?.iter();
        messages.find(|message| message["body_base64"].is_string()).cloned()
    })
    .await;
    let bytes = bytes["id"].as_str().unwrap();
    let shown = bench.run(&["rejected", "show", bytes]).await.with(0);
    assert_eq!((shown.out.trim(), shown.err.contains("base64")), ("//4=", true), "{shown:?}");
    let unasked = bench.run(&["rejected", "discard", bytes]).await.with(2);
    assert!(unasked.err.contains("--yes"), "{unasked:?}");
    bench.run(&["rejected", "discard", bytes, "--yes"]).await.with(0);

    let still_wrong = bench.run(&["rejected", "resubmit", ids[0]]).await.with(1);
    assert!(still_wrong.err.contains("/endpoint: "), "{still_wrong:?}");
    let corrected = bench.json(&["rejected", "resubmit", ids[0], "--document", &to("/ok").to_string()]).await;
    assert_eq!((&corrected["publisher"], &corrected["idempotency_key"]), (&json!("shop"), &json!("a")));
    bench.run(&["rejected", "discard", ids[1], "--yes", "--note", "a test"]).await.with(0);
    assert_eq!(bench.json(&["rejected", "list"]).await["count"], 0);
    bench.run(&["rejected", "discard", ids[1], "--yes"]).await.with(3);
    bench.run(&["rejected", "show", ids[1]]).await.with(3);
}
