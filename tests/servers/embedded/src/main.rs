//! Serves one AWS service on loopback: `foldstream-embedded-servers dynamodb` or `kinesis [SECONDS]`, where an iterator of
//! Kinesis lasts so many seconds. Says on which port, and ends when its standard input does, so that it never outlives the
//! test that has started it.

use std::{error::Error, io::Write, process::ExitCode};

use ferrokinesis::store::StoreOptions;
use tokio::{io::AsyncReadExt, net::TcpListener};

/// As long as those of AWS.
const ITERATOR_SECONDS: u64 = 300;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let served = match arguments[..] {
        ["dynamodb"] => dynamodb().await,
        ["kinesis"] => kinesis(ITERATOR_SECONDS).await,
        ["kinesis", seconds] => match seconds.parse() {
            Ok(seconds) => kinesis(seconds).await,
            Err(error) => Err(format!("{seconds}: {error}").into()),
        },
        _ => Err("which service? dynamodb, or kinesis [SECONDS]".into()),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn dynamodb() -> Result<(), Box<dyn Error>> {
    let database = dynoxide::Database::memory()?;
    let listener = listen().await?;
    Ok(dynoxide::server::serve_with_shutdown(listener, database, end_of_input()).await?)
}

async fn kinesis(iterator_ttl_seconds: u64) -> Result<(), Box<dyn Error>> {
    let options = StoreOptions {
        create_stream_ms: 0,
        delete_stream_ms: 0,
        update_stream_ms: 0,
        shard_limit: 10_000,
        iterator_ttl_seconds,
        ..StoreOptions::default()
    };
    let (app, _store) = ferrokinesis::create_app(options);
    let listener = listen().await?;
    Ok(ferrokinesis::serve_plain_http(listener, app, end_of_input()).await?)
}

async fn listen() -> Result<TcpListener, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    Ok(listener)
}

async fn end_of_input() {
    let mut input = tokio::io::stdin();
    let mut byte = [0];
    while matches!(input.read(&mut byte).await, Ok(read) if read > 0) {}
}
