//! Dry runs: everything happens, and nothing leaves the machine.

use redial::call::{
    AttemptNumber, Body, CallId, ErrorKind, Headers, IdempotencyKey, Method, Mode, Outcome, Request,
    RequestPath, Revision,
};
use redial::clock::monotonic;
use redial::config::Sources;
use redial::invoker::{Invocation, Invoker};
use serde_json::{Value, json};

use crate::support::amqp_client::AmqpClient;
use crate::support::in_process::{Service, Setup};
use crate::support::wait_for;

/// The verdicts of a call's attempts, each of which must say that it was a dry run.
fn verdicts(call: &Value) -> Vec<&str> {
    let attempts = call["attempts"].as_array().unwrap();
    assert!(attempts.iter().all(|attempt| attempt["dry_run"] == true), "{call}");
    attempts.iter().map(|attempt| attempt["verdict"].as_str().unwrap()).collect()
}

async fn counted(service: &Service, endpoint: &str) -> bool {
    let metrics = service.get("/metrics").await.body;
    metrics
        .as_str()
        .unwrap()
        .lines()
        .any(|line| line.starts_with("redial_attempts") && line.contains(endpoint) && !line.ends_with(" 0"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_opened_and_every_trace_is_marked() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lines = format!(
        "[callbacks]\naddresses = \"any\"\n[endpoints.load]\nbase_url = \"http://{}\"\nladder = [\"200ms x3\"]\ndry_run = true\n",
        listener.local_addr().unwrap()
    );
    let service = Setup::rabbitmq().await.with(&lines).start().await;
    let client = AmqpClient::connect(service.broker_url()).await;
    let events = client.listen(&service.names().events(), "call.*.load").await;
    let callback = format!("{}/callback", service.third_party.url());

    let id = service
        .submit(&json!({ "endpoint": "load", "callback_url": callback, "request": { "path": "/fail/2" } }))
        .await;
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!(
        (&call["dry_run"], verdicts(&call)),
        (&json!(true), vec!["transient", "transient", "success"])
    );
    assert_eq!(call["attempts"][2]["response_body"], "{\"code\":0}");
    assert_eq!(client.take_many(&events, 1).await.remove(0).json()["dry_run"], true);
    let called_back = wait_for("the callback is posted", || async {
        service.third_party.requests().into_iter().find(|request| request.target == "/callback")
    })
    .await;
    let told: Value = serde_json::from_slice(&called_back.body).unwrap();
    assert_eq!((&told["dry_run"], &told["event"]), (&json!(true), &json!("call.succeeded")));

    let id = service.submit(&json!({ "endpoint": "load", "request": { "path": "/status/422" } })).await;
    let review = service.call_in(&id, "review").await;
    assert_eq!(verdicts(&review), ["rejected"]);
    // Review is told by the outbox.
    assert_eq!(client.take_many(&events, 1).await.remove(0).json()["dry_run"], true);

    assert_eq!(service.count("dry_run=true").await, 2);
    assert!(!counted(&service, "load").await);
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept()).await.is_err(),
        "somebody connected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_call_can_be_a_dry_run_among_others_that_are_not() {
    let script = "dry_run_script = \"[[rules]]\\npath = '/v1'\\nstatus = 422\\nlatency = '1ms'\"";
    let lines = format!("[endpoints.scripted]\nbase_url = \"{{third_party}}\"\n{script}\n");
    let service = Setup::embedded().with(&lines).start().await;
    let document = |key: &str, dry: bool| json!({ "endpoint": "sms", "idempotency_key": key, "dry_run": dry, "request": { "path": "/ok" } });
    let id = service.submit(&document("rehearsed", true)).await;
    assert_eq!(verdicts(&service.call_in(&id, "succeeded").await), ["success"]);
    assert!(!counted(&service, "sms").await);
    let id = service.submit(&document("real", false)).await;
    let call = service.call_in(&id, "succeeded").await;
    assert_eq!((&call["dry_run"], &call["attempts"][0]["dry_run"]), (&json!(false), &json!(false)));
    assert_eq!((service.seen("rehearsed").len(), service.seen("real").len()), (0, 1));
    assert!(counted(&service, "sms").await);

    let id = service
        .submit(&json!({ "endpoint": "scripted", "dry_run": true, "request": { "path": "/v1/messages" } }))
        .await;
    assert_eq!(verdicts(&service.call_in(&id, "review").await), ["rejected"]);
}

#[tokio::test]
async fn what_can_go_wrong_on_the_wire_can_be_rehearsed_and_a_live_call_is_never_answered_by_a_script() {
    let text = "[defaults]\ntimeout = { connect = '100ms', read = '300ms', overall = '300ms' }\nlease = '10s'\n\
                [endpoints.load]\nbase_url = 'http://never.invalid'\ndry_run = true\nheaders = { authorization = 'Bearer canary' }\n";
    let settings = redial::config::load(&Sources::of_text(text.to_owned())).unwrap().settings;
    let endpoint = settings.endpoints.iter().next().unwrap();
    let invoke = |path: &'static str, mode| async move {
        let request = Request {
            method: Method::Post,
            path: RequestPath::parse(path).unwrap(),
            headers: Headers::default(),
            body: Body::Json("{}".into()),
        };
        let until = monotonic() + std::time::Duration::from_secs(60);
        let invocation = Invocation {
            request: &request,
            call: CallId::generate(),
            idempotency_key: Some(&IdempotencyKey::parse("k").unwrap()),
            trace_parent: None,
            revision: Revision::FIRST,
            overall: endpoint.timeouts.overall(),
            mode,
            attempt: AttemptNumber::FIRST,
            send_before: until,
            finish_before: until,
        };
        Invoker::new().invoke(endpoint, invocation).await.outcome
    };
    for (path, expected) in [
        ("/ok", Ok(200)),
        ("/v1/anything?lang=en", Ok(200)),
        ("/status/503", Ok(503)),
        ("/hang", Err(ErrorKind::Timeout)),
        ("/slow?ms=30000", Err(ErrorKind::Timeout)),
        ("/drip?every=1s", Err(ErrorKind::Timeout)),
        ("/drop", Err(ErrorKind::Broken)),
        ("/cut", Err(ErrorKind::Broken)),
        ("/reset", Err(ErrorKind::Broken)),
        ("/garbage", Err(ErrorKind::Malformed)),
        ("/endless", Ok(200)),
        ("/bytes/100000", Ok(200)),
    ] {
        let outcome = match invoke(path, Mode::DryRun).await {
            Outcome::Answered(answer) => Ok(answer.status),
            Outcome::Failed { kind, .. } => Err(kind),
        };
        assert_eq!(outcome, expected, "{path}");
    }
    let Outcome::Answered(echo) = invoke("/echo", Mode::DryRun).await else { panic!("no echo") };
    let echoed = String::from_utf8_lossy(&echo.body).into_owned();
    assert!(echoed.contains("[redacted]") && !echoed.contains("canary"), "{echoed}");
    let Outcome::Failed { kind, detail } = invoke("/ok", Mode::Live).await else {
        panic!("a live call was answered")
    };
    assert!(kind == ErrorKind::Unsendable && detail.contains("dry run"), "{kind}: {detail}");
}
