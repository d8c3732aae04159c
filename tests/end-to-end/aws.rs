//! The services, each a server of its own, and the commands that run against them.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::types::StreamStatus;
use foldstream_test_servers::Server;
use tempfile::TempDir;

use crate::{
    chance::Chance,
    proxy::{Fault, Proxy},
};

const REGION: &str = "eu-west-1";
const TRIES: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(20);

/// Kinesis, DynamoDB, and a folder with a configuration.
pub struct Aws {
    folder: TempDir,
    kinesis: Server,
    dynamodb: Server,
    /// Before Kinesis and DynamoDB, for the binary alone.
    proxies: Option<[Proxy; 2]>,
}

impl Aws {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("foldstream.yaml"), config).unwrap();
        Self { folder, kinesis: Server::kinesis(), dynamodb: Server::dynamodb(), proxies: None }
    }

    /// The same, with tables that have streams.
    pub fn with_streams(config: &str) -> Self {
        Self { dynamodb: Server::ministack(), ..Self::new(config) }
    }

    /// From now on the binary's requests meet with faults.
    pub fn disturb(&mut self, chance: &mut Chance) {
        let mut before = |server: &Server| {
            let service = server.url().trim_start_matches("http://").to_owned();
            Proxy::before(service, chance.fork())
        };
        self.proxies = Some([before(&self.kinesis), before(&self.dynamodb)]);
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
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "tests")
}
