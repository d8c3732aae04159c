//! A service in memory behind the real client, for what no server for tests does: whatever a request is answered with, or
//! that it is not.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

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
use http_body::{Body, Frame};
use serde_json::{Value, json};

/// What comes back for a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Done(Value),
    /// An error of this code.
    Refused(&'static str),
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
}

/// How a stream of events goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Ends,
    /// In the middle of an event.
    IsCut,
    IsSilent,
    /// An error of this code.
    Fails(&'static str),
}

/// A service that speaks JSON.
pub(crate) trait Service: Send + Sync + 'static {
    fn answer(&self, operation: &str, input: Value) -> Reply;
}

pub(crate) fn client(service: Arc<dyn Service>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector(service));
    http_client_fn(move |_, _| connector.clone())
}

struct Connector(Arc<dyn Service>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a service in memory")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default();
        let input = request.body().bytes().unwrap_or_default();
        let input = serde_json::from_slice(input).expect("requests are JSON");
        HttpConnectorFuture::ready(match self.0.answer(operation, input) {
            Reply::Done(output) => Ok(response(200, &output)),
            Reply::Refused(code) => Ok(response(400, &json!({ "__type": code, "message": "refused" }))),
            Reply::Reset => Err(ConnectorError::io("connection reset".into())),
            Reply::Silence => return HttpConnectorFuture::new(std::future::pending()),
            Reply::Events { of, events, then } => Ok(stream(of, &events, then)),
        })
    }
}

fn response(status: u16, body: &Value) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("it is a status");
    let mut response = HttpResponse::new(status, body.to_string().into());
    response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
    response
}

fn stream(of: &'static str, events: &[Value], then: Then) -> HttpResponse {
    let mut bytes = Vec::new();
    let mut write = |kind: [(&'static str, &'static str); 2], payload: String| {
        let headers = kind.map(|(name, value)| Header::new(name, HeaderValue::String(value.into())));
        let message = Message::new_from_parts(headers.to_vec(), payload);
        write_message_to(&message, &mut bytes).expect("an event is written");
    };
    write([(":message-type", "event"), (":event-type", "initial-response")], "{}".to_owned());
    for event in events {
        write([(":message-type", "event"), (":event-type", of)], event.to_string());
    }
    match then {
        Then::Fails(code) => {
            write([(":message-type", "exception"), (":exception-type", code)], "{}".to_owned())
        }
        Then::IsCut => bytes.truncate(bytes.len() - 1),
        Then::Ends | Then::IsSilent => {}
    }
    let body = Pushing { bytes: Some(bytes.into()), is_silent: then == Then::IsSilent };
    let status = StatusCode::try_from(200).expect("it is a status");
    let mut response = HttpResponse::new(status, SdkBody::from_body_1_x(body));
    response.headers_mut().insert("content-type", "application/vnd.amazon.eventstream");
    response
}

/// A body that comes at once, and then ends or does not.
struct Pushing {
    bytes: Option<Bytes>,
    is_silent: bool,
}

impl Body for Pushing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.bytes.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None if self.is_silent => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}
