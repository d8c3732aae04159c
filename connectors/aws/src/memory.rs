//! A service in memory behind the real clients, for what no server for tests does: whatever a request is answered with, or
//! that it is not. Nothing that is shipped has it.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig,
    stalled_stream_protection::StalledStreamProtectionConfig,
};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::{
    body::SdkBody,
    event_stream::{Header, HeaderValue, Message},
};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Body, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc;

pub use crate::kinesis::{aggregate, hash_key};
use crate::{Connection, connection};

/// What comes back for a request.
#[derive(Debug, Clone)]
pub enum Reply {
    Done(Value),
    /// An error of this code.
    Refused(&'static str),
    /// An error of this status and code, and what else is in its body.
    Failed {
        status: u16,
        code: &'static str,
        with: Value,
    },
    /// The connection was reset; whether the request was taken is not known.
    Reset,
    /// None comes.
    Silence,
    /// A stream of events of one type.
    Events {
        of: &'static str,
        events: Vec<Value>,
        then: Then,
    },
    /// The same as it comes; the stream ends with whoever sends.
    Pushed {
        of: &'static str,
        events: Arc<Mutex<mpsc::Receiver<Push>>>,
    },
}

/// What comes next on a stream of events.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    Event(Value),
    /// The stream ends with an error of this code.
    Fails(&'static str),
    /// The connection is reset.
    Reset,
}

/// How a stream of events goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Ends,
    /// In the middle of an event.
    IsCut,
    IsSilent,
    /// An error of this code.
    Fails(&'static str),
}

/// A service that speaks JSON and answers at once.
pub trait Service: Send + Sync + 'static {
    fn answer(&self, operation: &str, input: Value) -> Reply;
}

/// A request on its way.
pub type Replying = BoxFuture<'static, Reply>;

/// Services that speak JSON, however far away.
pub trait Remote: Send + Sync + 'static {
    /// `target`: service and operation, such as `DynamoDB_20120810.PutItem`.
    fn call(&self, target: &str, input: Value) -> Replying;
}

impl<S: Service> Remote for S {
    fn call(&self, target: &str, input: Value) -> Replying {
        let operation = target.rsplit('.').next().unwrap_or_default();
        Box::pin(std::future::ready(self.answer(operation, input)))
    }
}

impl Connection {
    /// All clients of it send to this one.
    pub fn in_memory(remote: Arc<dyn Remote>) -> Self {
        let connector = SharedHttpConnector::new(Connector(remote));
        let client: SharedHttpClient = http_client_fn(move |_, _| connector.clone());
        Self { sdk: sdk().into_builder().http_client(client).build() }
    }
}

/// Of a client that reads no environment.
pub(crate) fn sdk() -> SdkConfig {
    let credentials = Credentials::new("test", "test", None, None, "tests");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .timeout_config(connection::timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .build()
}

struct Connector(Arc<dyn Remote>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("services in memory")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let input = request.body().bytes().unwrap_or_default();
        let input = serde_json::from_slice(input).expect("requests are JSON");
        let replied = self.0.call(target, input);
        HttpConnectorFuture::new(async move {
            Ok(match replied.await {
                Reply::Done(output) => response(200, output),
                Reply::Refused(code) => failure(400, code, json!({ "message": "refused" })),
                Reply::Failed { status, code, with } => failure(status, code, with),
                Reply::Reset => return Err(ConnectorError::io("connection reset".into())),
                Reply::Silence => std::future::pending().await,
                Reply::Events { of, events, then } => stream(of, &events, then),
                Reply::Pushed { of, events } => pushed(of, events),
            })
        })
    }
}

fn failure(status: u16, code: &'static str, mut body: Value) -> HttpResponse {
    body["__type"] = code.into();
    let mut response = response(status, body);
    response.headers_mut().insert("x-amzn-errortype", code);
    response
}

fn response(status: u16, body: Value) -> HttpResponse {
    of_type(status, "application/x-amz-json-1.1", body.to_string().into())
}

fn of_type(status: u16, content: &'static str, body: SdkBody) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("it is a status");
    let mut response = HttpResponse::new(status, body);
    response.headers_mut().insert("content-type", content);
    response.headers_mut().insert("x-amzn-requestid", "in-memory");
    response
}

/// One frame of a stream of events.
fn frame(kind: [(&'static str, &'static str); 2], payload: String) -> Vec<u8> {
    let headers = kind.map(|(name, value)| Header::new(name, HeaderValue::String(value.into())));
    let mut bytes = Vec::new();
    write_message_to(&Message::new_from_parts(headers.to_vec(), payload), &mut bytes)
        .expect("an event is written");
    bytes
}

fn first() -> Vec<u8> {
    frame([(":message-type", "event"), (":event-type", "initial-response")], "{}".to_owned())
}

fn event(of: &'static str, event: &Value) -> Vec<u8> {
    frame([(":message-type", "event"), (":event-type", of)], event.to_string())
}

fn exception(code: &'static str) -> Vec<u8> {
    frame([(":message-type", "exception"), (":exception-type", code)], "{}".to_owned())
}

const EVENTS: &str = "application/vnd.amazon.eventstream";

fn stream(of: &'static str, events: &[Value], then: Then) -> HttpResponse {
    let mut bytes = first();
    for one in events {
        bytes.extend(event(of, one));
    }
    match then {
        Then::Fails(code) => bytes.extend(exception(code)),
        Then::IsCut => bytes.truncate(bytes.len() - 1),
        Then::Ends | Then::IsSilent => {}
    }
    let body = AtOnce { bytes: Some(bytes.into()), is_silent: then == Then::IsSilent };
    of_type(200, EVENTS, SdkBody::from_body_1_x(body))
}

fn pushed(of: &'static str, events: Arc<Mutex<mpsc::Receiver<Push>>>) -> HttpResponse {
    of_type(200, EVENTS, SdkBody::from_body_1_x(Pushing { of, begun: false, over: false, events }))
}

type Polled = Poll<Option<Result<Frame<Bytes>, std::io::Error>>>;

/// A body that comes at once, and then ends or does not.
struct AtOnce {
    bytes: Option<Bytes>,
    is_silent: bool,
}

impl Body for AtOnce {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.is_silent => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

/// A body that comes event by event.
struct Pushing {
    of: &'static str,
    begun: bool,
    over: bool,
    events: Arc<Mutex<mpsc::Receiver<Push>>>,
}

impl Body for Pushing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if !self.begun {
            self.begun = true;
            return Poll::Ready(Some(Ok(Frame::data(first().into()))));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let polled = self.events.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(context);
        let bytes = match std::task::ready!(polled) {
            Some(Push::Event(one)) => event(self.of, &one),
            Some(Push::Fails(code)) => {
                self.over = true;
                exception(code)
            }
            Some(Push::Reset) => {
                self.over = true;
                return Poll::Ready(Some(Err(std::io::ErrorKind::ConnectionReset.into())));
            }
            None => return Poll::Ready(None),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes.into()))))
    }
}
