//! A proxy that does to requests what networks and busy services do.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    task::JoinSet,
};

use crate::{chance::Chance, units};

/// Longer than whoever asks waits for an answer.
const HALF_OPEN: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    None,
    Throttled,
    RequestLost,
    /// It was carried out.
    AnswerLost,
    AnswerCut,
    Delayed,
    /// Nothing comes, and nobody says that nothing will.
    HalfOpen,
}

/// Stands between a service and who asks it, on a port of its own.
pub struct Proxy {
    port: u16,
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    runtime: Option<Runtime>,
}

/// What was asked of a service.
#[derive(Debug, Clone)]
pub struct Call {
    /// As `DynamoDB_20120810.GetItem`.
    pub target: String,
    pub body: serde_json::Value,
    /// Of DynamoDB: request units, as it says itself.
    pub units: f64,
}

struct Passing {
    service: String,
    /// None: there are no faults, and calls are kept.
    chance: Option<Mutex<Chance>>,
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Proxy {
    /// `service` is `host:port`.
    pub fn before(service: String, chance: Option<Chance>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (counts, calls) = (Arc::default(), Arc::default());
        let chance = chance.map(Mutex::new);
        let passing = Passing { service, chance, counts: Arc::clone(&counts), calls: Arc::clone(&calls) };
        let passing = Arc::new(passing);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut open = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let passing = passing.clone();
                open.spawn(async move { passing.pass(client).await });
                // Whoever asked or answered may be gone: that is what is wanted here.
                while open.try_join_next().is_some() {}
            }
        });
        Self { port, counts, calls, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// How often each was injected.
    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.counts.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A test that is itself in a runtime may not wait for the end of another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Passing {
    async fn record(&self, mut client: TcpStream, mut request: Vec<u8>) -> io::Result<()> {
        let call = call(&request);
        if call.as_ref().is_some_and(|call| call.target.starts_with("DynamoDB_")) {
            units::ask_for(&mut request);
        }
        let mut service = TcpStream::connect(&self.service).await?;
        service.write_all(&request).await?;
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).await?;
        self.calls.lock().unwrap().extend(call.map(|call| Call { units: units::taken(&answer), ..call }));
        client.write_all(&answer).await?;
        client.shutdown().await
    }

    fn draw(&self) -> (Fault, Duration) {
        let Some(chance) = &self.chance else { return (Fault::None, Duration::ZERO) };
        let mut chance = chance.lock().unwrap();
        let fault = match chance.within(0..1_000) {
            0..10 => Fault::Throttled,
            10..15 => Fault::RequestLost,
            15..20 => Fault::AnswerLost,
            20..25 => Fault::AnswerCut,
            25..45 => Fault::Delayed,
            45 => Fault::HalfOpen,
            _ => Fault::None,
        };
        let delay = Duration::from_millis(chance.within(20..300));
        *self.counts.lock().unwrap().entry(fault).or_default() += 1;
        (fault, delay)
    }

    /// One request and its answer; what keeps a connection open for more is left out.
    async fn pass(&self, mut client: TcpStream) -> io::Result<()> {
        let Some(request) = request(&mut client).await? else { return Ok(()) };
        if self.chance.is_none() {
            return self.record(client, request).await;
        }
        let (fault, delay) = self.draw();
        match fault {
            Fault::Throttled => return throttle(&mut client).await,
            Fault::RequestLost => return reset(client),
            Fault::HalfOpen => {
                tokio::time::sleep(HALF_OPEN).await;
                return reset(client);
            }
            Fault::Delayed => tokio::time::sleep(delay).await,
            Fault::None | Fault::AnswerLost | Fault::AnswerCut => {}
        }
        let mut service = TcpStream::connect(&self.service).await?;
        service.write_all(&request).await?;
        if matches!(fault, Fault::None | Fault::Delayed) {
            tokio::io::copy(&mut service, &mut client).await?;
            return client.shutdown().await;
        }
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).await?;
        if fault == Fault::AnswerCut {
            client.write_all(&answer[..answer.len() / 2]).await?;
        }
        reset(client)
    }
}

/// A whole request, head and body, in which is asked that the connection be closed after the answer.
async fn request(client: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let whole = head + length.unwrap_or(0);
    while bytes.len() < whole {
        if client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes.splice(first_line..first_line, *b"connection: close\r\n");
    Ok(Some(bytes))
}

fn call(request: &[u8]) -> Option<Call> {
    let end = units::head_length(request);
    let head = std::str::from_utf8(&request[..end]).ok()?;
    let targets = head.lines().filter_map(|line| line.split_once(": "));
    let target = targets.into_iter().find(|(name, _)| name.eq_ignore_ascii_case("x-amz-target"))?.1;
    let body = serde_json::from_slice(&request[end..]).unwrap_or_default();
    Some(Call { target: target.to_owned(), body, units: 0.0 })
}

async fn throttle(client: &mut TcpStream) -> io::Result<()> {
    let body = r#"{"__type":"ProvisionedThroughputExceededException","message":"by the proxy"}"#;
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(format!("{head}{body}").as_bytes()).await?;
    client.shutdown().await
}

/// Ends a connection without a word of goodbye.
fn reset(client: TcpStream) -> io::Result<()> {
    client.set_zero_linger()
}
