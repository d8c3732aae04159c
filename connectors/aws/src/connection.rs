//! How AWS is reached.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig, timeout::TimeoutConfig,
};

/// A connection that takes longer is tried anew.
const CONNECT: Duration = Duration::from_secs(3);
/// For one request with its answer. The largest answers, 10 MB of a shard, take about a second.
const REQUEST: Duration = Duration::from_secs(10);

/// What is said of AWS beside the environment, which the SDK reads: `AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and
/// one for each service, and where credentials come from.
#[derive(Debug, Clone, Default)]
pub struct ConnectionOptions {
    pub region: Option<String>,
    pub profile: Option<String>,
}

/// The clients' common configuration. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(crate) sdk: SdkConfig,
}

impl Connection {
    /// Reads the environment. Nothing is sent: a region or credentials that are missing are an error of the first request.
    pub async fn open(options: ConnectionOptions) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = options.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = options.profile {
            loader = loader.profile_name(profile);
        }
        Self { sdk: loader.load().await }
    }

    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        aws_sdk_dynamodb::Client::new(&self.sdk)
    }

    pub fn streams(&self) -> aws_sdk_dynamodbstreams::Client {
        aws_sdk_dynamodbstreams::Client::new(&self.sdk)
    }

    pub fn kinesis(&self) -> aws_sdk_kinesis::Client {
        aws_sdk_kinesis::Client::new(&self.sdk)
    }
}

pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(REQUEST).build()
}
