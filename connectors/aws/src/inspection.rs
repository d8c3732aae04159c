//! What is found when each service is asked once for what a configuration names, and what to do about it.
//!
//! Nothing is changed: what would write is tried under a condition that no item meets, or on an item that is not there.

mod credentials;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use foldstream_model::{Error, ErrorKind};

use crate::errors;

pub use credentials::inspect_credentials;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Fine,
    /// It works, and may come to surprise.
    Warning,
    Wrong,
}

/// One check of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    /// `credentials`, `kinesis` or `dynamodb`.
    pub service: &'static str,
    /// As the configuration has it: a stream, a consumer, a table; the region for credentials.
    pub resource: String,
    /// The operation that was tried, as AWS calls it.
    pub check: &'static str,
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The action that IAM did not allow.
    pub missing_permission: Option<String>,
}

/// What the checks of one thing have found.
#[derive(Debug)]
pub(crate) struct Inspection {
    service: &'static str,
    resource: String,
    findings: Vec<Finding>,
}

impl Inspection {
    pub(crate) fn of(service: &'static str, resource: &str) -> Self {
        Self { service, resource: resource.to_owned(), findings: Vec::new() }
    }

    pub(crate) fn findings(self) -> Vec<Finding> {
        self.findings
    }

    pub(crate) fn fine(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(Severity::Fine, check, message.into(), None, None);
    }

    pub(crate) fn warning(&mut self, check: &'static str, message: impl Into<String>, help: &str) {
        self.add(Severity::Warning, check, message.into(), Some(help.to_owned()), None);
    }

    pub(crate) fn wrong(&mut self, check: &'static str, message: impl Into<String>, help: &str) {
        self.add(Severity::Wrong, check, message.into(), Some(help.to_owned()), None);
    }

    /// An error of ours, whose message says what to do.
    pub(crate) fn error(&mut self, check: &'static str, error: &Error) {
        self.add(Severity::Wrong, check, error.to_string(), None, None);
    }

    /// Whether anything else is worth asking: permissions go by operation, everything else concerns all of them.
    pub(crate) fn failed<E>(&mut self, check: &'static str, error: SdkError<E, HttpResponse>) -> GoOn
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        let code = errors::code(&error).unwrap_or_default().to_owned();
        let is_from_service = matches!(error, SdkError::ServiceError(_));
        let error = errors::of(check, error);
        let permission = self.permission(check, &code);
        let help = match &permission {
            Some(permission) => self.how_to_allow(permission),
            None if REFUSED_CREDENTIALS.contains(&code.as_str()) => REFUSED_CREDENTIALS_HELP.to_owned(),
            None if code == "ResourceNotFoundException" => NOT_FOUND_HELP.to_owned(),
            None if !is_from_service && error.kind() == ErrorKind::Transient => UNREACHABLE_HELP.to_owned(),
            None if error.kind() == ErrorKind::Invalid => INVALID_HELP.to_owned(),
            None => "it was asked once: try again".to_owned(),
        };
        let goes_on = if permission.is_some() { GoOn::Yes } else { GoOn::No };
        let message = error.message();
        let message = message.strip_prefix(check).and_then(|said| said.strip_prefix(": ")).unwrap_or(message);
        self.add(Severity::Wrong, check, message.to_owned(), Some(help), permission);
        goes_on
    }

    fn permission(&self, check: &str, code: &str) -> Option<String> {
        match code {
            "AccessDeniedException" | "AccessDenied" => Some(format!("{}:{check}", self.service)),
            "KMSAccessDeniedException" => Some("kms:Decrypt".to_owned()),
            _ => None,
        }
    }

    fn how_to_allow(&self, permission: &str) -> String {
        let on = match permission.starts_with("kms:") {
            true => format!("the key that encrypts {}", self.resource),
            false => self.resource.clone(),
        };
        format!(
            "allow {permission} on {on} in a policy of the role or user that this process runs as; `foldstream config \
             policy` prints the whole policy"
        )
    }

    fn add(
        &mut self,
        severity: Severity,
        check: &'static str,
        message: String,
        help: Option<String>,
        missing_permission: Option<String>,
    ) {
        let (service, resource) = (self.service, self.resource.clone());
        self.findings.push(Finding { severity, service, resource, check, message, help, missing_permission });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoOn {
    Yes,
    No,
}

/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonErrors.html>
const REFUSED_CREDENTIALS: [&str; 8] = [
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "IncompleteSignatureException",
    "MissingAuthenticationTokenException",
    "ExpiredTokenException",
    "OptInRequired",
    "NotAuthorized",
];
const REFUSED_CREDENTIALS_HELP: &str = "the credentials are not taken: renew them, choose others with --profile or the \
    environment, and see that the clock of this machine is right";
const NOT_FOUND_HELP: &str =
    "correct its name, the region or the account that the credentials belong to, or make it";
const UNREACHABLE_HELP: &str = "the service was not reached: is the region right, and does this network have a way to \
    it (a NAT gateway or a VPC endpoint, a security group that lets HTTPS out, AWS_ENDPOINT_URL unset)?";
const INVALID_HELP: &str = "the service does not take what was asked for: correct it in the configuration";
