//! The command line: what each command says, and the exit code it ends with.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::support::database::Place;
use crate::support::program::Workplace;
use crate::support::wait_for;

/// A configuration of a service on a free port with a third party that nobody plays.
const SOUND: &str =
    "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.sms]\nbase_url = \"http://127.0.0.1:9\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_explains_its_options() {
    let place = Workplace::new();
    let commands: [(&[&str], &[&str]); 20] = [
        (
            &[],
            &[
                "serve",
                "demo",
                "simulate",
                "publish",
                "bench",
                "migrate",
                "topology",
                "check",
                "health",
                "doctor",
                "token",
                "completions",
                "calls",
                "groups",
                "bulk",
                "endpoints",
                "rejected",
                "audit",
                "judge",
                "erase",
                "top",
                "--version",
            ],
        ),
        (&["serve"], &["--config", "--roles", "api", "intake", "worker", "sweeper", "--no-migrate"]),
        (&["demo"], &["--calls", "--broker", "--database", "--listen", "--stay"]),
        (&["simulate"], &["--listen", "--script", "--seed", "--key-header", "--keep-requests"]),
        (&["publish"], &["--config", "--rate", "--count", "--paths"]),
        (
            &["bench"],
            &[
                "--calls",
                "--failures",
                "--delay",
                "--rate",
                "--waiting",
                "--outage",
                "--broker",
                "--database",
                "--concurrency",
                "--json",
            ],
        ),
        (&["migrate"], &["--config"]),
        (&["topology"], &["export", "apply", "check"]),
        (&["topology", "export"], &["--config"]),
        (&["topology", "apply"], &["--config"]),
        (&["topology", "check"], &["--config"]),
        (&["check"], &["--config", "--against", "REDIAL_TOKEN", "--json", "Exit codes"]),
        (&["health"], &["--server", "REDIAL_SERVER"]),
        (&["doctor"], &["--config", "--server", "--json"]),
        (&["token", "new"], &["NAME", "--roles", "submit, view, operate"]),
        (&["completions"], &["bash", "zsh", "fish"]),
        (&["calls", "list"], &["--status", "--tag", "--all", "--json", "REDIAL_TOKEN", "Exit codes"]),
        (&["calls", "replay"], &["--request", "--new-key", "--note", "--if-revision"]),
        (
            &["bulk", "start"],
            &["--dry-run", "--yes", "--canary", "--rate", "--stop-at-failure-rate", "--watch"],
        ),
        (&["top"], &["--once", "--every"]),
    ];
    for (command, mentions) in commands {
        let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        let help = place.run(&arguments).await.with(0).out;
        for word in mentions {
            assert!(help.contains(word), "{command:?} does not mention {word}:\n{help}");
        }
    }
    let version = place.run(&["--version"]).await.with(0).out;
    assert_eq!(version.trim(), concat!("redial ", env!("CARGO_PKG_VERSION")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_command_line_ends_with_2_and_a_hint() {
    let place = Workplace::with(SOUND);
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["server"], "serve"),
        (&["serve", "--role", "api"], "--roles"),
        (&["serve", "--roles", "boss"], "intake"),
        (&["demo", "--calls", "0"], "1..=5000"),
        (&["demo", "--listen", "nowhere"], "nowhere"),
        (&["bench", "--delay", "10 parsecs"], "10 parsecs"),
        (&["simulate", "--key-header", "a b"], "a b"),
    ];
    for (arguments, hint) in cases {
        let ended = place.run(arguments).await.with(2);
        assert!(ended.err.contains(hint), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.out, "", "{arguments:?}");
    }
}

/// A configuration with one fault a line, and what each fault's sentence holds.
const FAULTY: &str = r#"[server]
listen = "0.0.0.0:0"
max_bdy = "1MiB"
[database]
url = "oracle://x"
[broker]
url = "amqp://${NO_SUCH_VARIABLE}@x"
[endpoints.sms]
base_url = "ftp://sms.example"
ladder = ["10 parsecs"]
[endpoints."S M S"]
base_url = "http://x"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_faults_is_refused_with_all_of_them_and_their_places() {
    let place = Workplace::with(FAULTY);
    let commands: [&[&str]; 6] = [
        &["check"],
        &["serve"],
        &["migrate"],
        &["topology", "export"],
        &["publish"],
        &["check", "--config", "redial.toml"],
    ];
    for arguments in commands {
        let ended = place.run(arguments).await.with(2);
        for part in [
            "redial.toml:3",
            "max_body",
            "redial.toml:5",
            "postgres://",
            "redial.toml:7",
            "NO_SUCH_VARIABLE",
            "redial.toml:9",
            "http",
            "redial.toml:10",
            "10 parsecs",
            "redial.toml:11",
            "S M S",
        ] {
            assert!(ended.err.contains(part), "{arguments:?} does not name {part}:\n{}", ended.err);
        }
        assert!(ended.out.is_empty(), "{arguments:?}: {}", ended.out);
    }
    assert!(!place.path().join("redial.db").exists(), "something was begun");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_is_missing_or_no_toml_is_refused_with_its_place() {
    let place = Workplace::with("[server\nlisten");
    let ended = place.run(&["serve"]).await.with(2);
    assert!(ended.err.contains("redial.toml:1"), "{}", ended.err);
    let ended = place.run(&["serve", "--config", "nowhere.toml"]).await.with(2);
    assert!(ended.err.contains("nowhere.toml"), "{}", ended.err);
    let ended = Workplace::new().run(&["serve"]).await.with(2);
    assert!(ended.err.contains("endpoint"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sound_configuration_is_explained() {
    let ended = Workplace::with(SOUND).run(&["check"]).await.with(0);
    for part in ["sms", "http://127.0.0.1:9", "sqlite:redial.db", "10s, 30s, 2m"] {
        assert!(ended.out.contains(part), "{part} in {}", ended.out);
    }
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/redial.toml");
    Workplace::new().run(&["check", "--config", shipped]).await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_serves_until_it_is_told_to_stop() {
    let place = Workplace::with(SOUND);
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let health = place.run(&["health", "--server", &url]).await.with(0);
    assert_eq!(serde_json::from_str::<Value>(&health.out).unwrap()["status"], "ok");
    place.run_with(&["health"], &[("REDIAL_SERVER", &url)]).await.with(0);
    let ended = server.stop().await.with(0);
    assert_eq!(ended.out, "", "the log goes to standard error");
    let gone = place.run(&["health", "--server", &url]).await.with(1);
    assert!(gone.err.starts_with("error: "), "{}", gone.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_ends_with_1_and_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = Workplace::with(SOUND);
    let ended = place.run_with(&["serve"], &[("REDIAL_SERVER__LISTEN", &address)]).await.with(1);
    assert!(ended.err.contains(&format!("cannot listen on {address}")), "{}", ended.err);
    let ended = place.run(&["simulate", "--listen", &address]).await.with(1);
    assert!(ended.err.contains(&address) && ended.err.contains("--listen"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_the_same_file_is_refused_with_a_sentence() {
    let place = Workplace::with(SOUND);
    let first = place.start(&["serve"], &[]);
    first.url().await;
    let second = place.run(&["serve"]).await.with(1);
    assert!(second.err.contains("redial.db"), "{}", second.err);
    first.stop().await.with(0);
    // Once it is gone the file is free again.
    let third = place.start(&["serve"], &[]);
    third.url().await;
    third.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_is_migrated_by_hand_as_often_as_one_likes() {
    let place = Workplace::with(SOUND);
    for _ in 0..2 {
        let ended = place.run(&["migrate"]).await.with(0);
        assert!(ended.out.contains("sqlite:redial.db is up to date"), "{}", ended.out);
    }
    let server = place.start(&["serve", "--no-migrate"], &[]);
    let url = server.url().await;
    let client = redial::cli::http::client(Duration::from_mins(1)).unwrap();
    assert_eq!(client.get(format!("{url}/v1/stats")).send().await.unwrap().status(), 200);
    server.stop().await.with(0);
    let away = [("REDIAL_DATABASE__URL", "postgres://nobody:canary-pw@127.0.0.1:9/nowhere")];
    let ended = place.run_with(&["migrate"], &away).await.with(1);
    assert!(ended.err.starts_with("error: ") && !ended.err.contains("canary-pw"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_migrate_waits_for_who_does() {
    let place = Workplace::with(SOUND);
    let ended = place.run(&["serve", "--no-migrate"]).await.with(1);
    assert!(
        ended.err.contains("run `redial migrate` first"),
        "nobody else could migrate its file: {}",
        ended.err
    );

    let database = Place::on_postgres().await;
    let url = database.url();
    let shared = [("REDIAL_DATABASE__URL", url.as_str())];
    let server = place.start(&["serve", "--no-migrate"], &shared);
    server.says("waiting for `redial migrate`").await;
    place.run_with(&["migrate"], &shared).await.with(0);
    // It says where it listens when it is ready.
    let client = redial::cli::http::client(Duration::from_mins(1)).unwrap();
    let answer = client.get(format!("{}/readyz", server.url().await)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    server.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_reaches_the_log_even_when_it_says_everything() {
    let place = Workplace::new();
    let third_party = place.start(&["simulate", "--listen", "127.0.0.1:0"], &[]);
    place.write(
        "redial.toml",
        &format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.sms]\nbase_url = {:?}\nladder = [\"50ms\"]\n\
             headers = {{ authorization = \"Bearer ${{SMS_TOKEN}}\" }}\n",
            third_party.url().await
        ),
    );
    let variables = [("SMS_TOKEN", "canary-of-the-endpoint"), ("REDIAL_LOG", "trace")];
    let server = place.start(&["serve"], &variables);
    let url = server.url().await;
    let client = redial::cli::http::client(Duration::from_secs(30)).unwrap();
    for path in ["/echo", "/echo?status=422", "/status/503"] {
        let document = json!({
            "endpoint": "sms",
            "request": { "path": path, "headers": { "cookie": "canary-cookie" }, "body": { "pin": "canary-body" } },
        });
        client
            .post(format!("{url}/v1/calls"))
            .bearer_auth("canary-token")
            .json(&document)
            .send()
            .await
            .unwrap();
    }
    wait_for("all have ended", || async {
        let stats: Value = client.get(format!("{url}/v1/stats")).send().await.unwrap().json().await.unwrap();
        (stats["calls"]["succeeded"] == 1 && stats["calls"]["review"] == 2).then_some(())
    })
    .await;
    let ended = server.stop().await.with(0);
    assert!(ended.err.lines().count() > 20, "the log says little: {}", ended.err);
    for line in ended.err.lines() {
        assert!(!line.contains("canary"), "{line}");
    }
    third_party.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_the_path_of_a_base_url_goes_to_the_third_party_and_nowhere_else() {
    let place = Workplace::new();
    let third_party = place.start(&["simulate", "--listen", "127.0.0.1:0"], &[]);
    let base_url = third_party.url().await;
    place.write(
        "redial.toml",
        &format!(
            "[server]\nlisten = \"127.0.0.1:0\"\n[endpoints.chat]\nbase_url = \"{base_url}/echo/bot${{BOT_TOKEN}}\"\n"
        ),
    );
    let server = place.start(&["serve"], &[("BOT_TOKEN", "123:canary-of-the-bot"), ("REDIAL_LOG", "trace")]);
    let url = server.url().await;
    let client = redial::cli::http::client(Duration::from_secs(30)).unwrap();
    let document = json!({ "endpoint": "chat", "request": { "path": "/send", "body": {} } });
    let submission = client.post(format!("{url}/v1/calls")).header("prefer", "wait=20").json(&document);
    let answer: Value = submission.send().await.unwrap().json().await.unwrap();
    let id = answer["id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let mut shown = vec![answer.to_string()];
    for path in [&format!("/v1/calls/{id}"), "/v1/endpoints", "/v1/endpoints/chat", "/v1/configuration"] {
        shown.push(client.get(format!("{url}{path}")).send().await.unwrap().text().await.unwrap());
    }
    let story: Value = serde_json::from_str(&shown[1]).unwrap();
    assert_eq!(story["status"], "succeeded", "{story}");
    assert_eq!(story["attempts"][0]["request"]["url"], format!("{base_url}/echo/bot[redacted]/send"));
    shown.push(server.stop().await.with(0).err);
    for text in shown {
        assert!(!text.contains("canary"), "{text}");
    }
    let seen =
        client.get(format!("{base_url}/_simulator/requests")).send().await.unwrap().text().await.unwrap();
    assert!(seen.contains("/echo/bot123:canary-of-the-bot/send"), "{seen}");
    third_party.stop().await.with(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_simulator_says_where_it_listens_and_what_it_has_seen() {
    let place = Workplace::new();
    place.write("script.toml", "[[rules]]\npath = \"/pay\"\nstatus = 402\n");
    let simulator = place.start(&["simulate", "--listen", "127.0.0.1:0", "--script", "script.toml"], &[]);
    let url = simulator.url().await;
    let client = redial::cli::http::client(Duration::from_mins(1)).unwrap();
    for (path, status) in [("/pay", 402), ("/ok", 200), ("/status/503", 503)] {
        let answer =
            client.post(format!("{url}{path}")).header("idempotency-key", path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
    }
    let ended = simulator.stop().await.with(0);
    assert!(ended.out.contains("3 requests with 3 keys"), "{}", ended.out);

    place.write("script.toml", "[[rules]]\npath = \"pay\"\nstatus = 42\ncolour = 1\n");
    let ended = place.run(&["simulate", "--listen", "127.0.0.1:0", "--script", "script.toml"]).await.with(1);
    for line in ["line 2", "line 3", "line 4"] {
        assert!(ended.err.contains(line), "{line} in {}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_tokens_trusts_its_machine_and_names_nobody() {
    let place = Workplace::with(SOUND);
    let server = place.start(&["serve"], &[]);
    let url = server.url().await;
    let client = redial::cli::http::client(Duration::from_secs(30)).unwrap();
    let document = r#"{"endpoint":"sms","request":{"path":"/"},"not_before":null}"#;
    let answer =
        client.post(format!("{url}/v1/calls")).header(CONTENT_TYPE, "application/json").body(document);
    let answer: Value = answer.send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["publisher"], "anonymous", "{answer}");
    server.stop().await.with(0);
    let exposed = [("REDIAL_SERVER__LISTEN", "0.0.0.0:0")];
    let ended = place.run_with(&["serve"], &exposed).await.with(2);
    assert!(ended.err.contains("REDIAL_SERVER__LISTEN") && ended.err.contains("token"), "{}", ended.err);
}
