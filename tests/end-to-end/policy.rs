//! What `config policy` prints, and what the deployment's template allows.

use serde_json::Value;

use crate::{aws::Aws, orders};

const TEMPLATE: &str = include_str!("../../deploy/cloudformation.yaml");
const EXAMPLE: &str = include_str!("../../config/examples/aws-single-table.yaml");
/// The template's parameters, as the example's defaults have them.
const PARAMETERS: [(&str, &str); 3] =
    [("${EventStream}", "shop-events"), ("${StateTable}", "foldstream"), ("${TablePrefix}", "shop")];

#[test]
fn a_policy_names_what_a_configuration_names() {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }"));
    let policy = |arguments: &[&str]| -> Vec<Value> {
        let said = aws.run(&[&["config", "policy", "--account", "123456789012"], arguments].concat());
        let policy: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        policy["Statement"].as_array().unwrap().clone()
    };
    let statements = policy(&[]);
    let ids: Vec<_> = statements.iter().map(|statement| statement["Sid"].as_str().unwrap()).collect();
    assert_eq!(ids, ["ReadStreams", "KeepState", "KeepLeases", "WriteDocuments", "MakeTables"]);
    assert_eq!(statements[0]["Resource"][0], "arn:aws:kinesis:eu-west-1:123456789012:stream/shop-events");
    assert_eq!(statements[3]["Resource"][1], "arn:aws:dynamodb:eu-west-1:123456789012:table/shop-skus-v1");
    let of_operator = policy(&["--operator", "--region", "us-east-1"]);
    assert_eq!(of_operator.len(), 7);
    assert!(of_operator[6]["Action"][0] == "dynamodb:DeleteTable");
    assert!(of_operator[6]["Resource"][0].as_str().unwrap().contains(":us-east-1:"));
}

/// The first policy document of the template, which is written in JSON.
fn of_template() -> Vec<Value> {
    let behind = TEMPLATE.split("PolicyDocument:\n            {").nth(1).expect("a policy in JSON");
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
    let aws = Aws::new(EXAMPLE);
    let location = ["--region", "${AWS::Region}", "--account", "${AWS::AccountId}", "--partition"];
    let arguments = [&["config", "policy"], &location[..], &["${AWS::Partition}"]].concat();
    let needed: Value = serde_json::from_str(&aws.run(&arguments)).unwrap();
    let (needed, allowed) = (needed["Statement"].as_array().unwrap(), of_template());
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
