//! A service in memory behind the real client, for what no server for tests does: whatever a request is answered with, or
//! that it is not.

use std::{fmt, sync::Arc};

use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn},
        result::ConnectorError,
    },
    http::StatusCode,
};
use serde_json::{Value, json};

/// What comes back for a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Done(Value),
    /// An error of this code.
    Refused(&'static str),
    /// The connection was reset; whether the request was taken is not known.
    Reset,
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
        })
    }
}

fn response(status: u16, body: &Value) -> HttpResponse {
    let status = StatusCode::try_from(status).expect("it is a status");
    let mut response = HttpResponse::new(status, body.to_string().into());
    response.headers_mut().insert("content-type", "application/x-amz-json-1.1");
    response
}
