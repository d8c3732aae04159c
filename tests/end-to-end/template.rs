//! The template of the deployment says the same as what it deploys.

use std::{collections::BTreeSet, time::Duration};

use foldstream_runtime::{metrics::FOR_ALARMS, settings::Settings};
use serde_json::Value;

use crate::aws::Aws;

const TEMPLATE: &str = include_str!("../../deploy/cloudformation.yaml");
const METRICS: &str = include_str!("../../engine/runtime/src/metrics.rs");
const EXAMPLE: &str = include_str!("../../config/examples/aws-single-table.yaml");
/// The template's parameters, as the example's defaults have them.
const PARAMETERS: [(&str, &str); 4] = [
    ("${EventStream}", "shop-events"),
    ("${EventTable}", "shop"),
    ("${StateTable}", "foldstream"),
    ("${TablePrefix}", "shop"),
];

/// A policy document of the template, those that are written in JSON.
fn of_template(name: &str) -> Vec<Value> {
    let of_role = TEMPLATE.split(&format!("PolicyName: {name}\n")).nth(1).expect("a policy of this name");
    let behind = of_role.split("PolicyDocument:\n            {").nth(1).expect("a policy in JSON");
    let (document, _) = behind.split_once("\n            }\n").expect("it has an end");
    let policy: Value = serde_json::from_str(&format!("{{{document}}}")).unwrap();
    policy["Statement"].as_array().unwrap().clone()
}

/// The ARN of a resource, with the names of the example in it.
fn pattern(resource: &Value) -> String {
    let text = resource["Fn::Sub"].as_str().expect("it has parameters").to_owned();
    PARAMETERS.iter().fold(text, |text, (parameter, value)| text.replace(parameter, value))
}

fn is_matched(resource: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => resource.starts_with(prefix),
        None => resource == pattern,
    }
}

#[test]
fn the_template_allows_what_the_example_needs_and_nothing_else() {
    allows("foldstream", &[]);
    allows("foldstream-relay", &["--relay"]);
}

fn allows(name: &str, arguments: &[&str]) {
    let aws = Aws::new(EXAMPLE);
    let location = ["--region", "${AWS::Region}", "--account", "${AWS::AccountId}", "--partition"];
    let arguments = [&["config", "policy"], &location[..], &["${AWS::Partition}"], arguments].concat();
    let needed: Value = serde_json::from_str(&aws.run(&arguments)).unwrap();
    let (needed, allowed) = (needed["Statement"].as_array().unwrap(), of_template(name));
    assert_eq!(needed.len(), allowed.len());
    for (needed, allowed) in needed.iter().zip(&allowed) {
        for part in ["Sid", "Effect", "Action"] {
            assert_eq!(needed[part], allowed[part], "{allowed}");
        }
        let patterns: Vec<_> = allowed["Resource"].as_array().unwrap().iter().map(pattern).collect();
        let resources = needed["Resource"].as_array().unwrap();
        let resources: Vec<_> = resources.iter().map(|resource| resource.as_str().unwrap()).collect();
        for resource in &resources {
            let is_allowed = patterns.iter().any(|pattern| is_matched(resource, pattern));
            assert!(is_allowed, "{resource} is not in {patterns:?}");
        }
        for pattern in &patterns {
            let is_needed = resources.iter().any(|resource| is_matched(resource, pattern));
            assert!(is_needed, "nothing needs {pattern}: {resources:?}");
        }
    }
}

#[test]
fn the_template_looks_at_metrics_and_lines_of_the_log_that_there_are() {
    let named = TEMPLATE.split(|c: char| c != '_' && !c.is_ascii_lowercase());
    let named: BTreeSet<&str> = named.filter(|word| word.starts_with("foldstream_")).collect();
    let told: BTreeSet<&str> = FOR_ALARMS.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(named, told, "what reaches CloudWatch is what alarms are about");
    let pattern =
        TEMPLATE.split("FilterPattern: '\"").nth(1).and_then(|text| text.split("\"'").next()).unwrap();
    assert!(METRICS.contains(pattern), "nothing logs {pattern:?}");
}

#[test]
fn a_task_has_more_time_to_stop_than_a_drain_takes() {
    let timeouts: Vec<&str> = TEMPLATE.split("StopTimeout: ").skip(1).collect();
    assert_eq!(timeouts.len(), 2);
    for text in timeouts {
        let timeout = Duration::from_secs(text.split_whitespace().next().unwrap().parse().unwrap());
        assert!(timeout > 2 * Settings::default().patience && timeout <= Duration::from_secs(120));
    }
}
