//! What `config policy` prints.

use serde_json::Value;

use crate::{aws::Aws, orders};

#[test]
fn a_policy_names_what_a_configuration_names() {
    let aws = Aws::new(&orders::config("store: { kind: dynamodb, table: state }", "read: polling"));
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
