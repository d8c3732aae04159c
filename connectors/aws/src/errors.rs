//! What an error of AWS means to the line.

use std::error::Error as StdError;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};
use foldstream_model::{Error, ErrorKind};

/// The other side asks for less.
const THROTTLED: [&str; 9] = [
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "LimitExceededException",
    "TooManyRequestsException",
    "KMSThrottlingException",
    "RequestThrottledException",
];

/// Nothing was wrong with what was asked for.
const TRANSIENT: [&str; 11] = [
    "InternalServerError",
    "InternalFailure",
    "InternalFailureException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "RequestTimeout",
    "RequestTimeoutException",
    "TransactionConflictException",
    "TransactionInProgressException",
    "ExpiredTokenException",
    "ExpiredNextTokenException",
];

/// What AWS calls an error, where it was AWS that answered.
pub(crate) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

/// There is no such table, stream or the like.
pub(crate) fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    code(error) == Some("ResourceNotFoundException")
}

/// The kind of an error, with what was being done in front of what AWS said.
pub(crate) fn of<E>(doing: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default().to_owned();
    let kind = kind(&error, &code);
    let mut message = match (error.message(), code.is_empty()) {
        (Some(message), false) => format!("{doing}: {code}: {message}"),
        _ => format!("{doing}: {}", chain(&error)),
    };
    if let SdkError::ServiceError(service) = &error
        && let Some(id) = service.raw().request_id()
    {
        message.push_str(&format!(" request={id}"));
    }
    if code == "AccessDeniedException" {
        message.push_str("; the role of this process lacks this permission");
    }
    Error::new(kind, message).with_source(error)
}

fn kind<E: StdError + 'static>(error: &SdkError<E, HttpResponse>, code: &str) -> ErrorKind {
    match error {
        SdkError::ServiceError(_) if THROTTLED.contains(&code) => ErrorKind::Throttled,
        SdkError::ServiceError(_) if TRANSIENT.contains(&code) => ErrorKind::Transient,
        SdkError::ServiceError(service) if service.raw().status().is_server_error() => ErrorKind::Transient,
        SdkError::ServiceError(_) | SdkError::ConstructionFailure(_) => ErrorKind::Invalid,
        SdkError::DispatchFailure(failure) if failure.is_user() => ErrorKind::Invalid,
        _ => ErrorKind::Transient,
    }
}

/// An error with all that it names as its cause.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
