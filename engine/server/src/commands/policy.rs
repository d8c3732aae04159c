//! The IAM policy of a configuration.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>

use foldstream_aws::permissions::{Location, Permission};
use serde_json::{Value, json};

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
    let ConfigPolicy { account, partition, operator } = arguments;
    let location = Location { partition, region: region.unwrap_or_else(|| "*".to_owned()), account };
    let mut permissions = named.to_run(&location);
    if operator {
        permissions.extend(named.to_operate(&location));
    }
    let statements: Vec<Value> = permissions.iter().map(statement).collect();
    let policy = json!({ "Version": VERSION, "Statement": statements });
    context.output.line(format!("{policy:#}"))?;
    Ok(Exit::Done)
}

fn statement(permission: &Permission) -> Value {
    json!({
        "Sid": permission.id,
        "Effect": "Allow",
        "Action": permission.actions,
        "Resource": permission.resources,
    })
}
