//! The services, each a server of its own, and the commands that run against them.

use std::{
    path::Path,
    process::{Command, Output},
};

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use foldstream_test_servers::Server;
use tempfile::TempDir;

const REGION: &str = "eu-west-1";

/// Kinesis, DynamoDB, and a folder with a configuration.
pub struct Aws {
    folder: TempDir,
    kinesis: Server,
    dynamodb: Server,
}

impl Aws {
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("foldstream.yaml"), config).unwrap();
        Self { folder, kinesis: Server::kinesis(), dynamodb: Server::dynamodb() }
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

    /// The binary, which finds the services by the variables that the SDKs of AWS know.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foldstream"));
        command.current_dir(self.folder()).args(arguments);
        for variable in ["FOLDSTREAM_CONFIG", "FOLDSTREAM_DATA", "FOLDSTREAM_LOG", "AWS_PROFILE"] {
            command.env_remove(variable);
        }
        command
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_ENDPOINT_URL_KINESIS", self.kinesis.url())
            .env("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.url());
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
