//! Connections to the servers of tests.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, http::HttpResponse,
        interceptors::BeforeDeserializationInterceptorContextMut,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use foldstream_model::{Clock, Ids, Timestamp};
use foldstream_test_servers::Server;
use xxhash_rust::xxh3::xxh3_64;

use crate::{Connection, dynamodb::StateTable, memory};

impl Connection {
    /// To a server that stands for all services.
    pub(crate) fn to(server: &Server) -> Self {
        Self { sdk: memory::sdk().into_builder().endpoint_url(server.url()).build() }
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

/// What befalls answers of a server, of which one in `nth` is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// What was asked for is done, and nobody hears of it.
    Lost,
    /// A transaction is answered as if another one had an item of it in hand; whether it was done is not said either.
    Conflict,
}

#[derive(Debug)]
struct Mishaps {
    kind: Mishap,
    nth: u64,
    answers: AtomicU64,
}

const CONFLICT: &str = r#"{
    "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
    "Message": "Transaction cancelled",
    "CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}]
}"#;

impl Mishaps {
    /// Without a rhythm, in which calls of as many requests could never end.
    fn is_due(&self) -> bool {
        xxh3_64(&self.answers.fetch_add(1, Ordering::Relaxed).to_le_bytes()).is_multiple_of(self.nth)
    }
}

impl Intercept for Mishaps {
    fn name(&self) -> &'static str {
        "mishaps"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_transaction = config.load::<Metadata>().is_some_and(|of| of.name() == "TransactWriteItems");
        let is_concerned = self.kind == Mishap::Lost || is_transaction;
        if !is_concerned || !self.is_due() {
            return Ok(());
        }
        if self.kind == Mishap::Lost {
            return Err("the answer is lost".into());
        }
        *context.response_mut() = HttpResponse::new(400.try_into()?, CONFLICT.into());
        Ok(())
    }
}

impl Connection {
    /// A client that is told less than the server has done.
    pub(crate) fn dynamodb_with(&self, kind: Mishap, nth: u64) -> aws_sdk_dynamodb::Client {
        let mishaps = Mishaps { kind, nth, answers: AtomicU64::default() };
        let config = aws_sdk_dynamodb::config::Builder::from(&self.sdk).interceptor(mishaps).build();
        aws_sdk_dynamodb::Client::from_conf(config)
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
