//! What `validate --online` says of the services that a configuration names.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Output,
};

use serde_json::Value;

use crate::{
    aws::Aws,
    event_table,
    orders::{self, STREAM},
};

const STORE: &str = "store: { kind: dynamodb, table: state }";

/// What was printed, an object a check, and the exit code.
fn validate(output: Output) -> (Vec<Value>, i32) {
    let said = String::from_utf8(output.stdout).unwrap();
    let checks = said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said}")));
    (checks.collect(), output.status.code().unwrap())
}

fn with<'c>(checks: &'c [Value], severity: &str) -> Vec<&'c Value> {
    checks.iter().filter(|check| check["severity"] == severity).collect()
}

/// Answers every request with the same error of AWS, until the test has ended.
fn refusing(code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || listener.incoming().try_for_each(|connection| refuse(connection?, code)));
    url
}

fn refuse(mut connection: TcpStream, code: &str) -> std::io::Result<()> {
    let mut request = BufReader::new(connection.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while request.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    request.read_exact(&mut vec![0; length])?;
    let body = format!("{{\"__type\":\"{code}\",\"message\":\"not for you\"}}");
    let length = body.len();
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close";
    write!(connection, "{head}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[tokio::test]
async fn what_is_there_is_told_and_what_is_to_be_made() {
    let aws = Aws::new(&orders::config(STORE, "read: polling"));
    let (checks, code) = validate(aws.command(&["validate", "--online", "-o", "json"]).output().unwrap());
    let wrong = with(&checks, "error");
    assert_eq!((code, wrong.len()), (2, 1), "{checks:?}");
    assert!(wrong[0]["check"] == "DescribeStreamSummary" && wrong[0]["resource"] == STREAM, "{wrong:?}");

    aws.create_stream(STREAM, 4).await;
    let said = aws.run(&["validate", "--online"]);
    for expected in
        ["4 open shards", "from the environment's variables", "run` makes it, key `pk + sk`", "0 errors"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert!(!said.contains("AWS_SECRET"), "{said}");

    aws.run(&["run", "--until-caught-up"]);
    let (checks, code) = validate(aws.command(&["validate", "--online", "-o", "json"]).output().unwrap());
    assert!(code == 0 && with(&checks, "error").is_empty(), "{checks:?}");
    for table in ["state", "state-shop", "shop-orders-v1", "shop-skus-v1"] {
        let of_table = checks.iter().filter(|check| check["resource"] == table);
        assert!(of_table.count() >= 3, "{table}: {checks:?}");
    }
}

#[tokio::test]
async fn of_a_table_its_shape_and_its_stream_are_told() {
    let config = orders::config(STORE, "read: polling");
    let config = config
        .replace("kind: kinesis", "kind: dynamodb_streams")
        .replace("stream: shop-events", "table: shop")
        .replace("    read: polling\n", "");
    let aws = Aws::with_streams(&config);
    let (checks, code) = validate(aws.command(&["validate", "--online", "-o", "json"]).output().unwrap());
    let wrong = with(&checks, "error");
    assert_eq!((code, wrong.len()), (2, 2), "{checks:?}");
    assert!(wrong.iter().all(|check| check["check"] == "DescribeTable"), "{wrong:?}");

    event_table::make(&aws.dynamodb()).await;
    let said = aws.run(&["validate", "--online"]);
    for expected in ["a stream is read", "the newest stream is arn:", "GetRecords", "0 errors"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn every_permission_that_is_missing_is_told_at_once() {
    let aws = Aws::new(&orders::config(STORE, "read: polling"));
    let url = refusing("AccessDeniedException");
    let mut command = aws.command(&["validate", "--online", "-o", "json"]);
    command.env("AWS_ENDPOINT_URL_KINESIS", &url).env("AWS_ENDPOINT_URL_DYNAMODB", &url);
    let (checks, code) = validate(command.output().unwrap());
    assert_eq!(code, 2, "{checks:?}");
    let missing: Vec<&str> = checks.iter().filter_map(|check| check["missing_permission"].as_str()).collect();
    for expected in ["kinesis:ListShards", "dynamodb:Query", "dynamodb:Scan", "dynamodb:BatchGetItem"] {
        assert!(missing.contains(&expected), "{expected}: {missing:?}");
    }
    let first = with(&checks, "error")[0];
    assert!(first["help"].as_str().unwrap().contains("allow kinesis:DescribeStreamSummary on"), "{first}");
    assert!(first["message"].as_str().unwrap().contains("AccessDeniedException: not for you"), "{first}");
}

#[tokio::test]
async fn a_service_that_is_not_reached_is_told_beside_the_other_one() {
    let aws = Aws::new(&orders::config(STORE, "read: polling"));
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = aws.command(&["validate", "--online", "-o", "json"]);
    command.env("AWS_ENDPOINT_URL_KINESIS", format!("http://{closed}"));
    let (checks, code) = validate(command.output().unwrap());
    let wrong = with(&checks, "error");
    assert_eq!((code, wrong.len()), (2, 1), "{checks:?}");
    assert!(wrong[0]["help"].as_str().unwrap().contains("VPC endpoint"), "{wrong:?}");
    assert_eq!(with(&checks, "ok").iter().filter(|check| check["service"] == "dynamodb").count(), 4);
}

#[tokio::test]
async fn without_a_region_nothing_is_asked() {
    let aws = Aws::new(&orders::config(STORE, "read: polling"));
    let mut command = aws.command(&["validate", "--online"]);
    command
        .env_remove("AWS_REGION")
        .env_remove("AWS_DEFAULT_REGION")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "none").env("AWS_SHARED_CREDENTIALS_FILE", "none");
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("AWS_REGION"), "{said}");
    assert!(!said.contains("DescribeTable"), "{said}");
}

#[tokio::test]
async fn of_a_relay_is_told_what_it_reads_and_whether_it_may_write_and_nothing_is_put() {
    let config = orders::config(STORE, "event_table: { table: shop, width: 6 }");
    let aws = Aws::with_streams(&config);
    let (checks, code) =
        validate(aws.command(&["validate", "--online", "--relay", "-o", "json"]).output().unwrap());
    let wrong: Vec<_> = with(&checks, "error").iter().map(|check| check["check"].clone()).collect();
    assert_eq!(
        (code, wrong),
        (2, vec!["DescribeTable".into(), "DescribeStreamSummary".into()]),
        "{checks:?}"
    );

    aws.create_stream(STREAM, 1).await;
    event_table::make(&aws.dynamodb()).await;
    let said = aws.run(&["validate", "--online", "--relay"]);
    for expected in ["the newest stream is arn:", "GetRecords", "allowed; nothing was put", "0 errors"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    assert_eq!(aws.kinesis_records(STREAM).await, 0);

    let url = refusing("AccessDeniedException");
    let mut command = aws.command(&["validate", "--online", "--relay", "-o", "json"]);
    command.env("AWS_ENDPOINT_URL_KINESIS", &url);
    let (checks, code) = validate(command.output().unwrap());
    let missing: Vec<&str> = checks.iter().filter_map(|check| check["missing_permission"].as_str()).collect();
    assert_eq!(
        (code, missing),
        (2, vec!["kinesis:DescribeStreamSummary", "kinesis:PutRecords"]),
        "{checks:?}"
    );
}
