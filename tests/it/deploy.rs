//! What stands in `deploy/` for others to run: manifests, alerts, a dashboard. Each is read as its reader would, and held against the program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use redial::call::Verdict;
use redial::limits::DRAIN_MAX;
use redial::telemetry::Metrics;
use serde::Deserialize as _;
use serde_json::Value;

use crate::support::program::Workplace;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    let text = read(path);
    serde_norway::Deserializer::from_str(&text)
        .map(|document| {
            Value::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

/// What is at a path such as `/spec/template`; a manifest without it is not what it should be.
fn at<'a>(document: &'a Value, pointer: &str) -> &'a Value {
    document.pointer(pointer).unwrap_or_else(|| panic!("nothing at {pointer} in {document:#}"))
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    at(document, pointer).as_str().unwrap_or_else(|| panic!("no text at {pointer} in {document:#}"))
}

fn list<'a>(document: &'a Value, pointer: &str) -> &'a [Value] {
    at(document, pointer).as_array().unwrap_or_else(|| panic!("no list at {pointer} in {document:#}"))
}

/// The Kubernetes example, by kind and name.
struct Manifests(BTreeMap<(String, String), Value>);

impl Manifests {
    fn read() -> Self {
        let files = std::fs::read_dir(folder("kubernetes")).unwrap().map(|file| file.unwrap().path());
        let all: Vec<Value> = files.flat_map(|path| documents(&path)).collect();
        let count = all.len();
        let named = all.into_iter().map(|document| {
            assert!(document.pointer("/metadata/namespace").is_none(), "whoever applies it chooses");
            let key = (text(&document, "/kind").to_owned(), text(&document, "/metadata/name").to_owned());
            (key, document)
        });
        let manifests = Self(named.collect());
        assert_eq!(manifests.0.len(), count, "a name is given twice");
        manifests
    }

    fn get(&self, kind: &str, name: &str) -> &Value {
        let key = (kind.to_owned(), name.to_owned());
        self.0.get(&key).unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |((found, _), _)| found == kind).map(|(_, document)| document)
    }

    /// The templates of all pods that run the program.
    fn pods(&self) -> Vec<&Value> {
        let owners = self.of_kind("Deployment").chain(self.of_kind("Job"));
        owners.map(|owner| at(owner, "/spec/template")).collect()
    }

    /// The environment of a pod's process, with what the Secret holds.
    fn environment(&self, pod: &Value) -> Vec<(String, String)> {
        let value = |variable: &Value| match variable.get("value") {
            Some(value) => value.as_str().unwrap().to_owned(),
            None if variable.pointer("/valueFrom/fieldRef").is_some() => "redial-7d9f4".to_owned(),
            None => {
                let secret = self.get("Secret", text(variable, "/valueFrom/secretKeyRef/name"));
                let key = text(variable, "/valueFrom/secretKeyRef/key");
                text(secret, &format!("/stringData/{key}")).to_owned()
            }
        };
        list(container(pod), "/env")
            .iter()
            .map(|variable| (text(variable, "/name").to_owned(), value(variable)))
            .collect()
    }
}

fn container(pod: &Value) -> &Value {
    at(pod, "/spec/containers/0")
}

fn is_within(part: &Value, whole: &Value) -> bool {
    part.as_object().unwrap().iter().all(|(name, value)| whole.get(name) == Some(value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_of_the_kubernetes_example_is_sound() {
    let manifests = Manifests::read();
    let pods = manifests.pods();
    assert_eq!(pods.len(), 3, "migration, API, workers");
    for pod in pods {
        let place = Workplace::new();
        let mut environment = manifests.environment(pod);
        for (name, value) in &mut environment {
            if name == "REDIAL_CONFIG" {
                // Where the volume is mounted in the pod is this folder here.
                let mounted = text(container(pod), "/volumeMounts/0/mountPath");
                assert_eq!(*value, format!("{mounted}/redial.toml"));
                let volume = at(pod, "/spec/volumes/0");
                assert_eq!(volume["name"], container(pod)["volumeMounts"][0]["name"]);
                let map = manifests.get("ConfigMap", text(volume, "/configMap/name"));
                place.write("redial.toml", text(map, "/data/redial.toml"));
                *value = place.path().join("redial.toml").to_str().unwrap().to_owned();
            }
        }
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let checked = place.run_with(&["check"], &environment).await.with(0);
        assert!(checked.out.contains("postgres://") && checked.out.contains("amqp://"), "{checked:?}");
        assert!(!checked.out.contains("change-me"), "a secret is shown: {checked:?}");
        assert_eq!(checked.err, "", "the example is warned of");
        // The command line is one that the program takes.
        let arguments: Vec<&str> =
            list(container(pod), "/args").iter().map(|argument| argument.as_str().unwrap()).collect();
        place.run(&[arguments.as_slice(), &["--help"]].concat()).await.with(0);
    }
}

#[test]
fn its_pods_may_do_little_and_have_time_to_stop() {
    let manifests = Manifests::read();
    for pod in manifests.pods() {
        assert_eq!(at(pod, "/spec/securityContext/runAsNonRoot"), true);
        let container = container(pod);
        assert_eq!(at(container, "/securityContext/readOnlyRootFilesystem"), true);
        assert_eq!(at(container, "/securityContext/allowPrivilegeEscalation"), false);
        assert_eq!(at(container, "/securityContext/capabilities/drop/0"), "ALL");
        for resource in ["/resources/requests/cpu", "/resources/requests/memory", "/resources/limits/memory"]
        {
            at(container, resource);
        }
    }
    for deployment in manifests.of_kind("Deployment") {
        let pod = at(deployment, "/spec/template");
        let grace = at(pod, "/spec/terminationGracePeriodSeconds").as_u64().unwrap();
        assert!(Duration::from_secs(grace) > DRAIN_MAX, "{grace} s cut a clean stop short");
        assert!(is_within(at(deployment, "/spec/selector/matchLabels"), at(pod, "/metadata/labels")));
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let probe = at(container(pod), &format!("/{probe}/httpGet"));
            assert_eq!((text(probe, "/path"), text(probe, "/port")), (path, "http"));
        }
        let port = at(container(pod), "/ports/0");
        assert_eq!((text(port, "/name"), at(port, "/containerPort").as_u64()), ("http", Some(8_080)));
        assert_eq!(text(pod, "/metadata/annotations/prometheus.io~1port"), "8080");
    }
    let api = at(manifests.get("Deployment", "redial-api"), "/spec/template");
    let service = manifests.get("Service", "redial");
    assert!(is_within(at(service, "/spec/selector"), at(api, "/metadata/labels")));
    assert_eq!(text(service, "/spec/ports/0/targetPort"), "http");
    for scaler in manifests.of_kind("HorizontalPodAutoscaler") {
        let target = at(scaler, "/spec/scaleTargetRef");
        let scaled = manifests.get(text(target, "/kind"), text(target, "/name"));
        assert!(scaled.pointer("/spec/replicas").is_none(), "applying it again would undo the scaling");
    }
}

/// Every series that the program can show, by name, with its labels.
fn series() -> BTreeMap<String, BTreeSet<String>> {
    let metrics = Metrics::default();
    let endpoint: Arc<str> = "sms".into();
    metrics.submission("stored");
    metrics.claim("won");
    metrics.late(Duration::ZERO);
    metrics.attempt(&endpoint, "success", Duration::ZERO);
    metrics.rescued("overdue", 1);
    metrics.commit("accept", 1);
    metrics.bundle(1);
    metrics.event("published", 1);
    metrics.holds([(&endpoint, "paused")].into_iter());
    metrics.reload("adopted");
    let mut series: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in metrics.render().lines().filter(|line| !line.starts_with('#')) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.trim_end_matches('}').split_once('{').unwrap_or((sample, ""));
        let labels = labels.split(',').filter_map(|label| label.split_once('=')).map(|(label, _)| label);
        series.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
    }
    assert!(series.contains_key("redial_running") && series.len() > 12, "{series:?}");
    series
}

#[test]
fn what_alerts_count_under_fixed_words_is_there_before_it_happens() {
    let metrics = Metrics::default();
    metrics.expect_attempts(&"sms".into(), Verdict::ALL.iter().map(|verdict| verdict.as_str()));
    let shown = metrics.render();
    let rules = read(&folder("prometheus/rules.yml"));
    let mut found = 0;
    for (start, _) in rules.match_indices("redial_") {
        let selector = &rules[start..][..rules[start..].find('}').map_or(0, |end| end + 1)];
        let counts = ["_total{kind=\"", "_total{verdict=\""].iter().any(|part| selector.contains(part));
        if counts && !selector.contains('\n') {
            let (name, labels) = selector.split_once('{').unwrap();
            let labels = labels.trim_end_matches('}');
            let is_there =
                |line: &str| line.starts_with(name) && line.contains(labels) && line.ends_with(" 0");
            assert!(shown.lines().any(is_there), "no {selector} in\n{shown}");
            found += 1;
        }
    }
    assert!(found >= 6, "{found} selectors");
}

/// The series of this program that an expression names, each with the labels that its selector names.
fn selectors(expression: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (start, _) in expression.match_indices("redial_") {
        let rest = &expression[start..];
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        let labels = rest[end..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels).split(',');
        let names = labels.filter_map(|label| label.split_once(['=', '!'])).map(|(name, _)| name.trim());
        found.push((rest[..end].to_owned(), names.map(str::to_owned).collect()));
    }
    found
}

/// Holds expressions to what the program shows; answers the series that they name.
fn named(expressions: &[&str]) -> BTreeSet<String> {
    let series = series();
    let mut names = BTreeSet::new();
    for expression in expressions {
        for (name, labels) in selectors(expression) {
            let known = series.get(&name).unwrap_or_else(|| panic!("no {name}, in {expression}"));
            // Which process it was is for Prometheus to say.
            let foreign =
                |label: &&String| !known.contains(*label) && !["instance", "job"].contains(&label.as_str());
            assert_eq!(labels.iter().find(foreign), None, "no such label of {name}, in {expression}");
            names.insert(name);
        }
    }
    names
}

#[test]
fn selectors_are_found_with_their_labels() {
    let expression =
        r#"sum(rate(redial_a_total{kind="x",endpoint=~"$e"}[5m])) / redial_b > rabbitmq_c{d="e"}"#;
    let labels = vec!["kind".to_owned(), "endpoint".to_owned()];
    assert_eq!(
        selectors(expression),
        [("redial_a_total".to_owned(), labels), ("redial_b".to_owned(), vec![])]
    );
    assert!(std::panic::catch_unwind(|| named(&["redial_wrong"])).is_err());
    assert!(std::panic::catch_unwind(|| named(&[r#"redial_running{endpoint="x"}"#])).is_err());
}

#[test]
fn alerts_name_only_what_the_program_counts() {
    let documents = documents(&folder("prometheus/rules.yml"));
    let rules: Vec<&Value> =
        list(&documents[0], "/groups").iter().flat_map(|group| list(group, "/rules")).collect();
    let mut names = BTreeSet::new();
    for rule in &rules {
        assert!(names.insert(text(rule, "/alert")), "{rule:#} is there twice");
        assert!(["page", "warn"].contains(&text(rule, "/labels/severity")), "{rule:#}");
        assert!(text(rule, "/annotations/summary").len() > 10, "{rule:#}");
    }
    let expressions: Vec<&str> = rules.iter().map(|rule| text(rule, "/expr")).collect();
    assert!(named(&expressions).len() > 5, "{expressions:?}");
}

#[test]
fn the_dashboard_shows_everything_that_the_program_counts() {
    let dashboard: Value = serde_json::from_str(&read(&folder("grafana/redial.json"))).unwrap();
    let panels = list(&dashboard, "/panels");
    let ids: BTreeSet<u64> = panels.iter().map(|panel| at(panel, "/id").as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "an id is given twice");
    let targets: Vec<&Value> = panels.iter().flat_map(|panel| list(panel, "/targets")).collect();
    let shown = named(&targets.iter().map(|target| text(target, "/expr")).collect::<Vec<_>>());
    let family = |name: &str| {
        let suffixes = ["_bucket", "_sum", "_count"];
        let suffix = suffixes.into_iter().find_map(|suffix| name.strip_suffix(suffix));
        suffix.unwrap_or(name).to_owned()
    };
    let families =
        |names: &mut dyn Iterator<Item = &String>| names.map(|name| family(name)).collect::<BTreeSet<_>>();
    assert_eq!(families(&mut shown.iter()), families(&mut series().keys()));
    let variables: Vec<&str> =
        list(&dashboard, "/templating/list").iter().map(|v| text(v, "/name")).collect();
    assert_eq!(variables, ["datasource", "endpoint"]);
    assert!(!named(&[text(&dashboard, "/templating/list/1/query")]).is_empty());
}
