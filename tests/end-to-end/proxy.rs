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

use crate::chance::Chance;

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
    runtime: Option<Runtime>,
}

struct Passing {
    service: String,
    chance: Mutex<Chance>,
    counts: Arc<Mutex<BTreeMap<Fault, u64>>>,
}

impl Proxy {
    /// `service` is `host:port`.
    pub fn before(service: String, chance: Chance) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let counts = Arc::default();
        let passing = Arc::new(Passing { service, chance: Mutex::new(chance), counts: Arc::clone(&counts) });
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
        Self { port, counts, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
    fn draw(&self) -> (Fault, Duration) {
        let mut chance = self.chance.lock().unwrap();
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

/// A whole request, in which is asked that the connection be closed after the answer.
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
