//! The API's description: held against the routes, the problem codes and real answers, and looked at as a page.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::in_process::{Service, Setup, in_an_hour, keyed};

/// Method and path of everything that is described.
fn described(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.clone(), path.clone()))
        })
        .collect()
}

/// Method and path of every route in the source of the API.
fn routed() -> BTreeSet<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/mod.rs");
    let text = std::fs::read_to_string(source).unwrap();
    let mut routes = BTreeSet::new();
    for route in text.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once('"').unwrap();
        let handlers = rest.split('\n').take_while(|line| !line.trim().is_empty()).next().unwrap();
        for method in ["get", "post", "put", "patch", "delete"] {
            let named = handlers.match_indices(&format!("{method}(")).any(|(at, _)| {
                !handlers[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_:".contains(letter))
            });
            if named {
                routes.insert((method.to_owned(), path.to_owned()));
            }
        }
    }
    assert!(routes.len() > 25, "{routes:?}");
    routes
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    assert_eq!(described(redial::api::reference::document()), routed());
}

/// Every stable code that the API's source names in a problem.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                codes.extend(text.split("Problem::new(").skip(1).filter_map(code_of));
            }
        }
    }
    assert!(codes.len() > 20, "{codes:?}");
    codes
}

/// The second argument, if it is a literal: `StatusCode::NOT_FOUND, "unknown_call", …`.
fn code_of(arguments: &str) -> Option<String> {
    let (status, rest) = arguments.split_once(',')?;
    let literal = rest.trim_start().strip_prefix('"')?.split('"').next()?;
    status.contains("StatusCode::").then(|| literal.to_owned())
}

#[test]
fn every_problem_code_is_described() {
    let described = redial::api::reference::document().to_string();
    // What no route answers is described with no route.
    let of_no_route = ["not_found", "method_not_allowed"];
    let missing: Vec<String> = codes()
        .into_iter()
        .filter(|code| !of_no_route.contains(&code.as_str()) && !described.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_description_holds_together() {
    let document = redial::api::reference::document();
    assert_eq!(document["openapi"].as_str().map(|version| &version[..2]), Some("3."));
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
        assert!(
            !name.ends_with("View") && !name.ends_with("Document")
                || name.contains("Request")
                || name.contains("Failure")
                || name.contains("Entity"),
            "{name}"
        );
    }
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
            assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 3), "{what}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{what}");
            let in_path: BTreeSet<&str> =
                path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
            let named: BTreeSet<&str> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            assert_eq!(in_path, named, "{what}");
            if path.starts_with("/v1/") {
                assert!(responses.contains_key("503"), "{what}");
            }
        }
    }
}

/// Holds a value against a schema; answers what does not fit.
#[expect(clippy::wildcard_enum_match_arm, reason = "another crate's enum, of which only these are meant")]
fn misfits(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return misfits(document, &document["components"]["schemas"][name], value, place);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let fits = choices.iter().any(|schema| misfits(document, schema, value, place).is_empty());
            return if fits { Vec::new() } else { vec![format!("{place}: fits none of {choice}: {value}")] };
        }
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Vec::new(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let counts_as_number = kind == "integer" && kinds.contains(&"number");
    if !kinds.contains(&kind) && !counts_as_number {
        return vec![format!("{place}: is {kind}, not {kinds:?}: {value}")];
    }
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(number, item)| {
                misfits(document, &schema["items"], item, &format!("{place}/{number}"))
            })
            .collect(),
        Value::Object(members) => misfitting_members(document, schema, members, place),
        _ => Vec::new(),
    }
}

fn misfitting_members(
    document: &Value,
    schema: &Value,
    members: &serde_json::Map<String, Value>,
    place: &str,
) -> Vec<String> {
    let properties: BTreeMap<&String, &Value> =
        schema["properties"].as_object().into_iter().flatten().collect();
    let mut found: Vec<String> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|name| !members.contains_key(name.as_str().unwrap()))
        .map(|name| format!("{place}: {name} is missing"))
        .collect();
    for (name, value) in members {
        let place = format!("{place}/{name}");
        match (properties.get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => found.extend(misfits(document, schema, value, &place)),
            (None, Value::Null) => found.push(format!("{place}: is not described")),
            (None, schema) => found.extend(misfits(document, schema, value, &place)),
        }
    }
    found
}

/// The schema of an answer in JSON.
fn schema<'a>(document: &'a Value, method: &str, path: &str, status: u16) -> &'a Value {
    let response = &document["paths"][path][method]["responses"][status.to_string()];
    let (_, content) = response["content"]
        .as_object()
        .unwrap_or_else(|| panic!("{method} {path} {status}: {response}"))
        .iter()
        .next()
        .unwrap();
    &content["schema"]
}

async fn holds(service: &Service, method: &str, path: &str, actual: &str, body: Option<Value>) -> Answer {
    let document = redial::api::reference::document();
    let request =
        service.request_as("tester", Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(), actual);
    let answer = Answer::to(match &body {
        Some(body) => request.json(body),
        None => request,
    })
    .await;
    let found = misfits(document, schema(document, method, path, answer.status), &answer.body, "");
    assert!(found.is_empty(), "{method} {actual} {}: {found:#?}", answer.status);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_as_they_are_described() {
    let service = Setup::embedded().start().await;
    let done = holds(&service, "post", "/v1/calls", "/v1/calls", Some(keyed("done", "/ok"))).await.id();
    service.call_in(&done, "succeeded").await;
    let stuck = service.submit(&keyed("stuck", "/status/422")).await;
    service.call_in(&stuck, "review").await;
    let mut rich = in_an_hour("rich");
    rich["entity"] = json!({ "key": "deal", "version": 1 });
    rich["tags"] = json!({ "order": "7" });
    rich["failure"] = json!({ "status": 503, "error": "away" });
    rich["callback_url"] = json!("https://shop.example/");
    let rich = service.submit(&rich).await;
    let edit = json!({ "request": { "path": "/ok" }, "note": "mended" });
    let replay = format!("/v1/calls/{stuck}/replay");
    holds(&service, "post", "/v1/calls/{id}/replay", &replay, Some(edit)).await;
    service.call_in(&stuck, "succeeded").await;
    let waits = service.submit(&keyed("again", "/status/422")).await;
    service.call_in(&waits, "review").await;

    let nothing = || Some(json!({ "note": "" }));
    for id in [&done, &stuck, &rich] {
        holds(&service, "get", "/v1/calls/{id}", &format!("/v1/calls/{id}"), None).await;
    }
    for path in [
        "/v1/calls",
        "/v1/groups",
        "/v1/audit",
        "/v1/endpoints",
        "/v1/configuration",
        "/v1/stats",
        "/v1/stats/history",
        "/v1/rejected",
        "/v1/bulk",
        "/v1/session",
        "/healthz",
        "/readyz",
    ] {
        assert_eq!(holds(&service, "get", path, path, None).await.status, 200, "{path}");
    }
    holds(&service, "get", "/v1/endpoints/{name}", "/v1/endpoints/sms", None).await;
    let batch = Some(json!([keyed("batch", "/ok"), {}]));
    assert_eq!(holds(&service, "post", "/v1/calls/batch", "/v1/calls/batch", batch).await.status, 200);
    let order = |dry_run: bool| {
        Some(json!({ "action": "cancel", "filter": { "status": "review" }, "dry_run": dry_run }))
    };
    assert_eq!(holds(&service, "post", "/v1/bulk", "/v1/bulk", order(true)).await.status, 200);
    let job = holds(&service, "post", "/v1/bulk", "/v1/bulk", order(false)).await;
    assert_eq!(job.status, 202);
    holds(&service, "get", "/v1/bulk/{id}", &format!("/v1/bulk/{}", job.id()), None).await;
    holds(&service, "get", "/v1/bulk/{id}/calls", &format!("/v1/bulk/{}/calls", job.id()), None).await;
    let resolve = format!("/v1/calls/{rich}/resolve");
    assert_eq!(holds(&service, "post", "/v1/calls/{id}/resolve", &resolve, nothing()).await.status, 200);
    assert_eq!(holds(&service, "post", "/v1/calls/{id}/resolve", &resolve, nothing()).await.status, 409);
    let erasure = Some(json!({ "tags": { "order": "7" } }));
    assert_eq!(holds(&service, "post", "/v1/erase", "/v1/erase", erasure).await.status, 200);
    assert_eq!(
        holds(&service, "get", "/v1/calls/{id}", &format!("/v1/calls/{rich}"), None).await.status,
        200
    );
    let faulty = Some(json!({ "endpoint": 7 }));
    assert_eq!(holds(&service, "post", "/v1/calls", "/v1/calls", faulty).await.status, 422);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_needs_no_script_and_no_other_site() {
    let service = Setup::embedded().start().await;
    let openapi = Answer::to(service.request(Method::GET, "/openapi.json")).await;
    assert_eq!((openapi.status, &openapi.body), (200, redial::api::reference::document()));
    let page = Answer::to(service.request(Method::GET, "/docs")).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = page.body.as_str().unwrap();
    for foreign in ["<script", "http://", "https://", " style=", "onclick"] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    for (_, path) in described(redial::api::reference::document()) {
        assert!(html.contains(&format!("<code>{path}</code>")), "{path}");
    }
    // Every link inside the page leads somewhere.
    let ids: BTreeSet<&str> =
        html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for link in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.contains(link), "{link}");
    }
    let style = Answer::to(service.request(Method::GET, "/docs/style.css")).await;
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
    let head = Answer::to(service.request(Method::HEAD, "/docs")).await;
    assert_eq!(head.status, 200);
}
