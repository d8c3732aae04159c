use aws_credential_types::credential_feature::AwsCredentialFeature as Feature;
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials};

use super::{Finding, Inspection};
use crate::{Connection, errors};

const REGION: &str = "Region";
const CREDENTIALS: &str = "Credentials";

/// Whether there are credentials and a region, without which no service can be asked anything. Says of which kind the
/// credentials are, and nothing of themselves.
pub async fn inspect_credentials(connection: &Connection) -> Vec<Finding> {
    let region = connection.sdk.region().map(ToString::to_string);
    let mut inspection = Inspection::of("credentials", region.as_deref().unwrap_or("no region"));
    match &region {
        Some(region) => inspection.fine(REGION, region.as_str()),
        None => inspection.wrong(
            REGION,
            "no region is set",
            "give --region, set AWS_REGION, or a `region` in the profile",
        ),
    }
    let missing = "in a container, give the task or pod a role; elsewhere set AWS_PROFILE or give --profile, and sign in";
    let Some(provider) = connection.sdk.credentials_provider() else {
        inspection.wrong(CREDENTIALS, "there are none", missing);
        return inspection.findings();
    };
    match provider.provide_credentials().await {
        Ok(credentials) => inspection.fine(CREDENTIALS, kind(&credentials)),
        Err(error) => inspection.wrong(CREDENTIALS, errors::chain(&error), missing),
    }
    inspection.findings()
}

/// Where credentials come from, in words: the last step of how they were got.
fn kind(credentials: &Credentials) -> String {
    let steps = credentials.get_property::<Vec<Feature>>();
    let of = match steps.and_then(|steps| steps.last()) {
        Some(Feature::CredentialsEnvVars) => "from the environment's variables",
        Some(Feature::CredentialsHttp) => "of the container: an ECS task role or an EKS pod identity",
        Some(Feature::CredentialsImds) => "of the EC2 instance",
        Some(Feature::CredentialsSso | Feature::CredentialsProfileSso) => {
            "of a profile, by IAM Identity Center"
        }
        Some(Feature::CredentialsLogin | Feature::CredentialsProfileLogin) => "of a profile, by `aws login`",
        Some(Feature::CredentialsProcess | Feature::CredentialsProfileProcess) => {
            "of a profile, by a command"
        }
        Some(Feature::CredentialsStsAssumeRoleWebId) => "of a role that a web identity assumed",
        Some(Feature::CredentialsStsAssumeRole) => "of a role that was assumed",
        Some(Feature::CredentialsProfile) => "of a profile",
        _ => "from a source that does not say its kind",
    };
    match credentials.session_token() {
        Some(_) => format!("{of}; temporary"),
        None => format!("{of}; they do not expire"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_credentials_is_told_and_nothing_of_themselves() {
        let mut credentials = Credentials::new("AKIDEXAMPLE", "hush", Some("token".into()), None, "tests");
        credentials.set_property(vec![Feature::CredentialsEnvVars]);
        assert_eq!(kind(&credentials), "from the environment's variables; temporary");
        credentials.set_property(vec![Feature::CredentialsProfile, Feature::CredentialsStsAssumeRole]);
        let said = kind(&credentials);
        assert!(said.contains("assumed") && !said.contains("AKID") && !said.contains("hush"), "{said}");
    }
}
