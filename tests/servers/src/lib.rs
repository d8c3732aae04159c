//! The servers that tests talk to in place of AWS: each on loopback, on a port of its own, started by the test that needs
//! it and stopped with it.
//!
//! What each of them gets wrong is written down at its function. What none of them can do is injected into the clients.

mod embedded;

use std::process::Child;

/// A server that runs until this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// DynamoDB without streams: fast, in memory. It never throttles, and knows no permissions.
    pub fn dynamodb() -> Self {
        embedded::start(&["dynamodb"])
    }

    /// Kinesis, in memory, with enhanced fan-out. Records arrive at whole seconds, a shard that was split names no
    /// children when it is polled, and no lag is told.
    pub fn kinesis() -> Self {
        embedded::start(&["kinesis"])
    }

    /// The same, with iterators that last so many seconds.
    pub fn kinesis_with_short_iterators(seconds: u32) -> Self {
        embedded::start(&["kinesis", &seconds.to_string()])
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
