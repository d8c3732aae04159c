//! Connections to the servers of tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use foldstream_model::{Clock, Ids, Timestamp};
use foldstream_test_servers::Server;

use crate::{Connection, connection, dynamodb::StateTable};

impl Connection {
    /// To a server that stands for all services.
    pub(crate) fn to(server: &Server) -> Self {
        let credentials = Credentials::new("test", "test", None, None, "tests");
        let sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(server.url())
            .retry_config(RetryConfig::disabled())
            .timeout_config(connection::timeouts());
        Self { sdk: sdk.build() }
    }
}

/// A server with a state table.
pub(crate) struct Fixture {
    pub connection: Connection,
    pub ids: Arc<TestIds>,
    pub state: Arc<StateTable>,
    _server: Server,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let server = Server::dynamodb();
        let connection = Connection::to(&server);
        let ids = Arc::new(TestIds::default());
        let state =
            StateTable::open(&connection, "foldstream", ids.clone(), true).await.expect("a table is made");
        Self { connection, ids, state, _server: server }
    }
}

/// Ids that are counted.
#[derive(Default)]
pub(crate) struct TestIds(AtomicU64);

impl Ids for TestIds {
    fn unique(&self) -> String {
        format!("id-{}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// The machine's own, as servers have theirs from there.
pub(crate) struct WallClock;

impl Clock for WallClock {
    #[expect(clippy::disallowed_methods, reason = "servers of tests stamp what they are sent by this clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let micros = since.expect("the clock is set").as_micros();
        Timestamp::from_micros(micros.try_into().expect("the clock is set"))
    }
}
