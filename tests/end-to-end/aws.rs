//! The services, each a server of its own, and the commands that run against them.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::types::{Record, ShardIteratorType, StreamStatus};
use foldstream_test_servers::Server;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    chance::Chance,
    proxy::{Call, Fault, Proxy},
};

const REGION: &str = "eu-west-1";
const TRIES: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Kinesis, DynamoDB, and a folder with a configuration.
pub struct Aws {
    folder: TempDir,
    kinesis: Arc<Server>,
    dynamodb: Arc<Server>,
    /// Before Kinesis and DynamoDB, for the binary alone.
    proxies: Option<[Proxy; 2]>,
}

impl Aws {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("foldstream.yaml"), config).unwrap();
        let (kinesis, dynamodb) = (Arc::new(Server::kinesis()), Arc::new(Server::dynamodb()));
        Self { folder, kinesis, dynamodb, proxies: None }
    }

    /// The same, with tables that have streams.
    pub fn with_streams(config: &str) -> Self {
        Self { dynamodb: Arc::new(Server::ministack()), ..Self::new(config) }
    }

    /// The same, and Kinesis is where DynamoDB itself can put changes.
    pub fn with_destination(config: &str) -> Self {
        let both = Arc::new(Server::ministack());
        Self { kinesis: both.clone(), dynamodb: both, ..Self::new(config) }
    }

    /// The same, with a Kinesis that is slower, and may be read while several put: its polled shards tell their children,
    /// when records came, and how far behind a read is.
    pub fn with_kinesis_local(config: &str) -> Self {
        Self { kinesis: Arc::new(Server::kinesis_local()), ..Self::new(config) }
    }

    /// Both of that.
    pub fn whole(config: &str) -> Self {
        Self { kinesis: Arc::new(Server::kinesis_local()), ..Self::with_streams(config) }
    }

    /// Of Kinesis and DynamoDB.
    pub fn urls(&self) -> (String, String) {
        (self.kinesis.url(), self.dynamodb.url())
    }

    /// From now on the binary's requests meet with faults.
    pub fn disturb(&mut self, chance: &mut Chance) {
        let mut before = |server: &Server| Proxy::before(address(server), Some(chance.fork()));
        self.proxies = Some([before(&self.kinesis), before(&self.dynamodb)]);
    }

    /// From now on the binary's requests are kept.
    pub fn record(&mut self) {
        let before = |server: &Server| Proxy::before(address(server), None);
        self.proxies = Some([before(&self.kinesis), before(&self.dynamodb)]);
    }

    /// No more; what was asked.
    pub fn recorded(&mut self) -> Vec<Call> {
        self.proxies.take().iter().flatten().flat_map(Proxy::calls).collect()
    }

    /// No more; what was injected, at Kinesis and at DynamoDB.
    pub fn calm(&mut self) -> Vec<BTreeMap<Fault, u64>> {
        self.proxies.take().iter().flatten().map(Proxy::counts).collect()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials())
            .endpoint_url(self.kinesis.url());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(credentials())
            .endpoint_url(self.dynamodb.url());
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// Makes a stream, and waits until it can be used: the server answers before that.
    pub async fn create_stream(&self, name: &str, shards: i32) {
        let kinesis = self.kinesis();
        kinesis.create_stream().stream_name(name).shard_count(shards).send().await.unwrap();
        for _ in 0..TRIES {
            let asked = kinesis.describe_stream_summary().stream_name(name).send().await;
            let summary = asked.ok().and_then(|answer| answer.stream_description_summary);
            if summary.is_some_and(|summary| *summary.stream_status() == StreamStatus::Active) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("the stream {name} is not there yet");
    }

    /// How many records there are in the open shards of a stream that nobody has resharded.
    pub async fn kinesis_records(&self, name: &str) -> usize {
        self.records(name).await.len()
    }

    /// The same, without the heartbeats of relays.
    pub async fn kinesis_changes(&self, name: &str) -> usize {
        let is_change =
            |record: &&Record| String::from_utf8_lossy(record.data().as_ref()).contains("NewImage");
        self.records(name).await.iter().filter(is_change).count()
    }

    async fn records(&self, name: &str) -> Vec<Record> {
        let (kinesis, mut records) = (self.kinesis(), Vec::new());
        for shard in kinesis.list_shards().stream_name(name).send().await.unwrap().shards() {
            let iterator = kinesis.get_shard_iterator().stream_name(name).shard_id(shard.shard_id());
            let iterator = iterator.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
            let read = kinesis.get_records().set_shard_iterator(iterator.shard_iterator);
            records.extend(read.send().await.unwrap().records);
        }
        tokio::time::sleep(PAUSE).await;
        records
    }

    /// The binary, which finds the services by the variables that the SDKs of AWS know.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let (kinesis, dynamodb) = match &self.proxies {
            Some([kinesis, dynamodb]) => (kinesis.url(), dynamodb.url()),
            None => (self.kinesis.url(), self.dynamodb.url()),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldstream"));
        command.current_dir(self.folder()).args(arguments);
        for variable in ["FOLDSTREAM_CONFIG", "FOLDSTREAM_DATA", "FOLDSTREAM_LOG", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        command
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL_KINESIS", kinesis)
            .env("AWS_ENDPOINT_URL_DYNAMODB_STREAMS", &dynamodb)
            .env("AWS_ENDPOINT_URL_DYNAMODB", dynamodb);
        command
    }

    /// What a command printed, which must have gone well.
    pub fn run(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let (said, failed) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
        assert!(status.success(), "{arguments:?}: {status}\n{said}\n{failed}");
        said
    }

    /// All documents of a projection by their keys; `of` are further arguments.
    pub fn documents(&self, projection: &str, of: &[&str]) -> BTreeMap<String, Value> {
        let list = ["documents", "list", projection, "--limit", "0", "-o", "json"];
        let listed = self.run(&[&list, of].concat());
        let documents = listed.lines().map(|line| {
            let shown: Value = serde_json::from_str(line).unwrap();
            (shown["key"].as_str().unwrap().to_owned(), shown["document"].clone())
        });
        documents.collect()
    }
}

/// Host and port.
fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "tests")
}
