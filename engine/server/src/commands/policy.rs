//! The IAM policy of a configuration.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use foldstream_aws::permissions::{Location, Permission};
use serde::Serialize;

use crate::{
    cli::ConfigPolicy,
    commands::Context,
    exit::{Exit, Outcome},
    stores,
};

const VERSION: &str = "2012-10-17";

pub fn execute(arguments: ConfigPolicy, context: &mut Context) -> Outcome {
    let named = stores::named(&context.config()?);
    let region = context.global.region.clone().or_else(|| std::env::var("AWS_REGION").ok());
    let ConfigPolicy { account, partition, relay, operator } = arguments;
    let location = Location { partition, region: region.unwrap_or_else(|| "*".to_owned()), account };
    let mut permissions = if relay { named.to_relay(&location) } else { named.to_run(&location) };
    if operator {
        permissions.extend(named.to_operate(&location));
    }
    let policy = Policy { version: VERSION, statements: permissions.iter().map(Statement::from).collect() };
    let text = serde_json::to_string_pretty(&policy).map_err(std::io::Error::from)?;
    context.output.line(text)?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy<'p> {
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<Statement<'p>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'p> {
    sid: &'p str,
    effect: &'static str,
    #[serde(rename = "Action")]
    actions: &'p [&'p str],
    #[serde(rename = "Resource")]
    resources: &'p [String],
}

impl<'p> From<&'p Permission> for Statement<'p> {
    fn from(permission: &'p Permission) -> Self {
        let Permission { id, actions, resources } = permission;
        Self { sid: id, effect: "Allow", actions, resources }
    }
}
