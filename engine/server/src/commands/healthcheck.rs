//! Asks the process on this machine, as `curl` would, which containers lack.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    cli::Healthcheck,
    exit::{Exit, Failure, Outcome},
};

/// More than any answer has, so that a stranger on the port cannot make it longer.
const MOST_BYTES: u64 = 64 << 10;

pub async fn execute(arguments: &Healthcheck) -> Outcome {
    let path = if arguments.ready { "/readyz" } else { "/livez" };
    let address = on_this_machine(arguments.listen);
    let patience = Duration::from_secs(arguments.timeout);
    let answer = match tokio::time::timeout(patience, ask(address, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(Failure::failed(format!("http://{address}{path}: {error}"))),
        Err(_) => {
            let seconds = arguments.timeout;
            return Err(Failure::failed(format!("http://{address}{path}: no answer within {seconds} s")));
        }
    };
    match status(&answer) {
        Some("200") => Ok(Exit::Done),
        Some(status) => Err(Failure::failed(format!("http://{address}{path}: status {status}"))),
        None => Err(Failure::failed(format!("http://{address}{path}: this is no answer of HTTP"))),
    }
}

/// Who listens on all addresses of a machine can be asked on the loopback.
fn on_this_machine(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, listen.port())
}

async fn ask(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.take(MOST_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The status of an answer, as in `HTTP/1.1 200 OK`.
fn status(answer: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(answer.split(|byte| *byte == b'\r').next()?).ok()?;
    line.strip_prefix("HTTP/1.")?.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_everywhere_is_asked_on_the_loopback() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.0.0.7:3", "10.0.0.7:3")]
        {
            assert_eq!(on_this_machine(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn only_a_status_of_http_is_one() {
        assert_eq!(status(b"HTTP/1.1 503 Service Unavailable\r\n\r\nnot ready\n"), Some("503"));
        assert_eq!(status(b"HTTP/1.0 200 OK\r\n"), Some("200"));
        assert!(status(b"SSH-2.0-OpenSSH\r\n").is_none() && status(b"").is_none());
    }
}
