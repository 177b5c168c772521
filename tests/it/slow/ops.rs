//! The files in ops/ fit the metrics: alerts fire when they should and only then, panels show existing metrics, and the
//! documents describe both.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use entraway::observability::metrics::{Kind, Metric, Metrics};
use serde::Deserialize;
use serde_json::Value;

use crate::docs::markdown::{assert_rows, document, root};

const RULES: &str = "ops/prometheus-rules.yaml";
const RULE_TESTS: &str = "ops/prometheus-rules.test.yaml";
const DASHBOARD: &str = "ops/grafana-dashboard.json";

#[derive(Deserialize)]
struct Rules {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: Value,
    annotations: Value,
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn rules() -> Vec<Rule> {
    let rules: Rules = serde_saphyr::from_str(&read(RULES)).unwrap_or_else(|error| panic!("{RULES}: {error}"));
    rules.groups.into_iter().flat_map(|group| group.rules).collect()
}

const RUNBOOK: &str = "docs/how-to/respond-to-alerts.md";

/// Errors in an expression: unknown metrics, unknown labels, and label values that never occur.
fn wrong(expression: &str, metrics: &[Metric]) -> Vec<String> {
    let mut wrong = Vec::new();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in expression.match_indices("entraway_") {
        if expression[..at].ends_with(word) {
            continue;
        }
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c| !word(c)).unwrap_or(rest.len()));
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = metrics.iter().find(|metric| match metric.kind {
            Kind::Histogram => histogram == Some(&*metric.name),
            _ => metric.name == name,
        });
        let Some(metric) = known else {
            wrong.push(format!("no metric {name}"));
            continue;
        };
        let matchers = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        for matcher in matchers.split(',').filter(|matcher| !matcher.trim().is_empty()) {
            let operator = matcher.find(['=', '!']).unwrap_or_else(|| panic!("{matcher:?} in {expression}"));
            let (label, values) = matcher.split_at(operator);
            let (label, values) = (label.trim(), values.trim_start_matches(['=', '!', '~']).trim_matches('"'));
            if ["job", "instance", "le"].contains(&label) {
                continue;
            }
            match metric.labels.iter().find(|(name, _)| *name == label) {
                None => wrong.push(format!("{name} has no label {label}")),
                Some((_, possible)) => wrong.extend(
                    values
                        .split('|')
                        .filter(|value| !possible.contains(value))
                        .map(|value| format!("{name}: {label} is never {value}")),
                ),
            }
        }
    }
    wrong
}

#[test]
fn expression_check_finds_unknown_metrics_and_labels() {
    let metrics = Metrics::new();
    let found = |expression| wrong(expression, metrics.list());
    assert_eq!(found("sum(rate(entraway_sign_ins_total{outcome=~\"busy|internal\",job=\"x\"}[5m])) > 0"), [""; 0]);
    assert_eq!(found("sum by (le) (rate(entraway_postgres_seconds_bucket[5m]))"), [""; 0]);
    assert_eq!(found("entraway_sign_ins"), ["no metric entraway_sign_ins"]);
    assert_eq!(found("entraway_postgres_seconds"), ["no metric entraway_postgres_seconds"]);
    assert_eq!(found("1 + entraway_sign_ins_total{out!=\"x\"}"), ["entraway_sign_ins_total has no label out"]);
    assert_eq!(
        found("entraway_sign_ins_total{outcome!~\"busy|bussy\"}"),
        ["entraway_sign_ins_total: outcome is never bussy"]
    );
}

#[track_caller]
fn promtool(arguments: &[&str]) {
    let ended = Command::new("promtool").args(arguments).current_dir(root()).output();
    let ended = ended.expect("promtool is installed: script/setup --promtool does that");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "promtool {arguments:?} failed:\n{said}");
}

#[test]
fn alert_rules_fire_for_their_fault_only() {
    promtool(&["check", "rules", RULES]);
    promtool(&["test", "rules", RULE_TESTS]);
    let tests = read(RULE_TESTS);
    for Rule { alert, .. } in rules() {
        let names = |before: &str| tests.matches(&format!("{before}alertname: {alert}")).count();
        assert!(
            names("eval_time: 50m, ") == 1,
            "{RULE_TESTS} does not assert that {alert} stays silent on a healthy day"
        );
        assert!(names("\n        ") >= 1, "{RULE_TESTS} does not test that {alert} fires");
    }
}

#[test]
fn alerts_name_existing_metrics_and_runbooks() {
    let metrics = Metrics::new();
    let runbook = document(RUNBOOK);
    let anchors = runbook.anchors();
    let rules = rules();
    assert!(rules.len() > 10, "{RULES} has too few rules; was it parsed correctly?");
    for Rule { alert, expr, labels, annotations } in &rules {
        assert_eq!(wrong(expr, metrics.list()), [""; 0], "{alert}: {expr}");
        assert!(["critical", "warning"].contains(&labels["severity"].as_str().unwrap_or_default()), "{alert}");
        let anchor = alert.to_lowercase();
        assert_eq!(annotations["runbook"], format!("{RUNBOOK}#{anchor}"), "{alert}");
        assert!(annotations["summary"].is_string(), "{alert}");
        assert!(anchors.contains(&anchor), "{RUNBOOK} has no heading {alert}");
    }
    let headings: BTreeSet<&str> = runbook.text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let alerts: BTreeSet<&str> = rules.iter().map(|rule| &*rule.alert).collect();
    assert_eq!(headings, alerts, "left: the headings of {RUNBOOK}; right: {RULES}");
}

/// Collects all strings under this key at any depth.
fn texts<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if name == key
                    && let Value::String(text) = value
                {
                    found.push(text);
                }
                texts(value, key, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| texts(value, key, found)),
        _ => {}
    }
}

#[test]
fn dashboard_shows_every_metric() {
    let metrics = Metrics::new();
    let dashboard: Value =
        serde_json::from_str(&read(DASHBOARD)).unwrap_or_else(|error| panic!("{DASHBOARD}: {error}"));
    assert_eq!(dashboard["title"], "Entraway");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["type"] == "datasource" && variable["query"] == "prometheus"));
    let panels: Vec<&Value> =
        dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row").collect();
    let mut ids = BTreeSet::new();
    let mut all = String::new();
    for panel in &panels {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: duplicate panel ID");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        assert!(panel["gridPos"]["w"].as_i64().unwrap() <= 24, "{title}");
        let mut expressions = Vec::new();
        texts(&panel["targets"], "expr", &mut expressions);
        assert!(!expressions.is_empty(), "{title} has no expression");
        for expression in expressions {
            assert_eq!(wrong(expression, metrics.list()), [""; 0], "{title}: {expression}");
            assert!(expression.contains("entraway_"), "{title}: {expression}");
            all.push_str(expression);
            all.push('\n');
        }
    }
    let missing: Vec<&str> =
        metrics.list().iter().map(|metric| &*metric.name).filter(|name| !all.contains(name)).collect();
    assert_eq!(missing, [""; 0], "metrics that no panel shows");
}

/// A metric's row in the reference.
fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let label = |(name, values): &(&str, Vec<&str>)| {
        // The version changes with each release, so the reference does not list it.
        let values = if *name == "version" { Vec::new() } else { values.clone() };
        let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
        if values.is_empty() { format!("`{name}`") } else { format!("`{name}`: {}", values.join(", ")) }
    };
    let labels: Vec<String> = metric.labels.iter().map(label).collect();
    format!("| `{}` | {kind} | {} | {} |", metric.name, labels.join("; "), metric.help)
}

#[test]
fn reference_lists_each_metric() {
    let metrics = Metrics::new();
    let expected: Vec<String> = metrics.list().iter().map(row).collect();
    assert_rows("docs/reference/metrics.md", "| `entraway_", &expected);
}
