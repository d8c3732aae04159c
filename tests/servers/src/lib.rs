//! The servers that tests talk to in place of AWS: each on loopback, on a port of its own, started by the test that needs
//! it and stopped with it.
//!
//! What each of them gets wrong is written down at its function. What none of them can do is injected into the clients.

mod asked;
mod embedded;
mod kinesis_local;
mod ministack;
mod kcl;

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

pub use kcl::KclWorker;

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
    /// children when it is polled, and no lag is told. Not to be read while several calls put at the same time: numbers are
    /// given before records are stored, so that a reader passes over some; and it may hang.
    pub fn kinesis() -> Self {
        embedded::start(&["kinesis"])
    }

    /// The same, with iterators that last so many seconds.
    pub fn kinesis_with_short_iterators(seconds: u32) -> Self {
        embedded::start(&["kinesis", &seconds.to_string()])
    }

    /// Kinesis in Node.js, slower: takes seconds to start, and 1,500 records a second. It tells lag, children and the time of
    /// arrival as Kinesis does, and lists shards in pages and filtered; but subscriptions never end with their shard.
    pub fn kinesis_local() -> Self {
        kinesis_local::start()
    }

    /// DynamoDB with streams, and more of AWS, in Python: takes a second to start. A stream has one shard, which never ends
    /// while the stream is enabled; its first number is that of the oldest record that is kept; records arrive at whole
    /// seconds; a number that no record has is refused as trimmed. It never throttles. Its Kinesis is not to be used:
    /// resharding loses records.
    pub fn ministack() -> Self {
        ministack::start()
    }

    /// Starts one that says its port first, and ends when its standard input does.
    fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = String::new();
        let output = process.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut said).expect("the server says its port");
        let port = said.trim().parse().unwrap_or_else(|error| panic!("{command:?}: port={said:?} ({error})"));
        Self { process, port }
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
