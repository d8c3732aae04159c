//! What a table of documents has beside its keys: given to one that is made, and looked at in any other.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    config::http::HttpResponse,
    error::SdkError,
    operation::{
        describe_continuous_backups::DescribeContinuousBackupsError,
        describe_time_to_live::DescribeTimeToLiveError, list_tags_of_resource::ListTagsOfResourceError,
    },
    types::{
        PointInTimeRecoverySpecification, PointInTimeRecoveryStatus, TableDescription, Tag,
        TimeToLiveSpecification, TimeToLiveStatus,
    },
};
use foldstream_model::{Error, Result};

use super::table::Definition;
use crate::{errors, inspection::Inspection};

/// Of a tombstone that may be forgotten: from when on, in seconds since 1970.
pub(super) const EXPIRES: &str = "_foldstream_expires";

/// Backups of a table that was made just now are not available for some seconds.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

const TIME_TO_LIVE: &str = "DescribeTimeToLive";
const BACKUPS: &str = "DescribeContinuousBackups";
const TAGS: &str = "ListTagsOfResource";

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provision {
    pub tags: BTreeMap<String, String>,
    pub point_in_time_recovery: bool,
    pub deletion_protection: bool,
    /// For how long what is left of a deleted document is kept at least, where documents are fed by one stream; none: for ever.
    pub purge_deleted_after: Option<Duration>,
}

type Asked<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// Looks after a table that can be used: what can be switched on is, if the table is made here, and any other difference is said.
/// `Invalid`: it removes documents by itself.
pub(super) async fn settle(
    client: &Client,
    wanted: &Definition,
    table: &TableDescription,
    create: bool,
) -> Result<()> {
    let doing = |operation: &str| format!("{operation} table={}", wanted.name);
    let Provision { tags, point_in_time_recovery, .. } = &wanted.provision;
    let found = time_to_live(client, &wanted.name).await;
    let found = found.map_err(|error| errors::of(&doing(TIME_TO_LIVE), error))?;
    check_time_to_live(&wanted.name, found.as_deref())?;
    let mut differences: Vec<String> = unprotected(wanted, table).into_iter().collect();
    match unpurged(wanted, found.as_deref()) {
        Some(_) if create => purge(client, &wanted.name).await?,
        difference => differences.extend(difference),
    }
    if *point_in_time_recovery {
        let has = has_recovery(client, &wanted.name).await;
        match has.map_err(|error| errors::of(&doing(BACKUPS), error))? {
            false if create => recover(client, &wanted.name).await?,
            has => differences.extend(unrecoverable(has)),
        }
    }
    if let Some(arn) = table.table_arn().filter(|_| !tags.is_empty()) {
        let has = tags_of(client, arn).await.map_err(|error| errors::of(&doing(TAGS), error))?;
        differences.extend(untagged(tags, &has));
    }
    for difference in differences {
        tracing::warn!(
            table = wanted.name,
            "the table differs from what is configured, and is left so: {difference}"
        );
    }
    Ok(())
}

/// Asks once for each of what is wanted.
pub(super) async fn inspect(
    client: &Client,
    wanted: &Definition,
    table: &TableDescription,
    create: bool,
    inspection: &mut Inspection,
) {
    let Provision { tags, point_in_time_recovery, deletion_protection, .. } = &wanted.provision;
    if *deletion_protection {
        say("DescribeTable", "deletion protection is on", unprotected(wanted, table), inspection);
    }
    match time_to_live(client, &wanted.name).await {
        Err(error) => drop(inspection.failed(TIME_TO_LIVE, error)),
        Ok(found) => {
            match (check_time_to_live(&wanted.name, found.as_deref()), unpurged(wanted, found.as_deref())) {
                (Err(error), _) => inspection.error(TIME_TO_LIVE, &error),
                (Ok(()), Some(off)) if create => {
                    switched_on(TIME_TO_LIVE, &off, "UpdateTimeToLive", inspection)
                }
                (Ok(()), off) => say(TIME_TO_LIVE, "no document is removed by time", off, inspection),
            }
        }
    }
    if *point_in_time_recovery {
        match has_recovery(client, &wanted.name).await.map(unrecoverable) {
            Err(error) => drop(inspection.failed(BACKUPS, error)),
            Ok(Some(off)) if create => switched_on(BACKUPS, &off, "UpdateContinuousBackups", inspection),
            Ok(off) => say(BACKUPS, "point-in-time recovery is on", off, inspection),
        }
    }
    if let Some(arn) = table.table_arn().filter(|_| !tags.is_empty()) {
        match tags_of(client, arn).await {
            Err(error) => drop(inspection.failed(TAGS, error)),
            Ok(has) => say(TAGS, "tagged as configured", untagged(tags, &has), inspection),
        }
    }
}

fn say(
    check: &'static str,
    fine: &str,
    differences: impl IntoIterator<Item = String>,
    inspection: &mut Inspection,
) {
    let differences = Vec::from_iter(differences).join("; ");
    match differences.is_empty() {
        true => inspection.fine(check, fine),
        false => inspection.warning(
            check,
            differences,
            "a table that is there is not changed: change it, or what is configured of it",
        ),
    }
}

fn switched_on(check: &'static str, off: &str, operation: &str, inspection: &mut Inspection) {
    let message = format!("{off}; `foldstream run` switches it on, which needs dynamodb:{operation}");
    inspection.fine(check, message);
}

/// The tags that a table is made with.
pub(super) fn tags(wanted: &Provision) -> Result<Vec<Tag>> {
    let tag = |(key, value): (&String, &String)| {
        let tag = Tag::builder().key(key).value(value).build();
        tag.map_err(|error| Error::internal(format!("a tag cannot be asked for: {key} ({error})")))
    };
    wanted.tags.iter().map(tag).collect()
}

/// `Invalid`: DynamoDB removes items by an attribute of documents, and with them what documents remember of their events.
fn check_time_to_live(table: &str, found: Option<&str>) -> Result<()> {
    match found {
        Some(attribute) if attribute != EXPIRES => Err(Error::invalid(format!(
            "the table has a time to live by an attribute of its items: table={table} attribute={attribute}; a document that \
             DynamoDB removes takes with it what it remembers of its events, and is made anew of what comes then, or comes again, \
             without all that came before. Switch that off, and delete documents by an event, with `delete_document`"
        ))),
        _ => Ok(()),
    }
}

fn unprotected(wanted: &Definition, table: &TableDescription) -> Option<String> {
    let lacks = wanted.provision.deletion_protection && table.deletion_protection_enabled() != Some(true);
    lacks.then(|| "deletion protection is off".to_owned())
}

fn unpurged(wanted: &Definition, found: Option<&str>) -> Option<String> {
    let lacks = wanted.provision.purge_deleted_after.is_some() && found.is_none();
    lacks.then(|| {
        format!("time to live by `{EXPIRES}` is off, so that what is left of deleted documents is kept")
    })
}

fn unrecoverable(has_recovery: bool) -> Option<String> {
    (!has_recovery).then(|| "point-in-time recovery is off".to_owned())
}

fn untagged(wanted: &BTreeMap<String, String>, has: &BTreeMap<String, String>) -> Vec<String> {
    let differing = wanted.iter().filter(|(key, value)| has.get(*key) != Some(*value));
    let said = differing.map(|(key, value)| match has.get(key) {
        Some(other) => format!("the tag `{key}` is `{other}`, not `{value}`"),
        None => format!("the tag `{key}` is missing"),
    });
    said.collect()
}

/// Which attribute DynamoDB removes items by, if it does.
async fn time_to_live(client: &Client, table: &str) -> Asked<Option<String>, DescribeTimeToLiveError> {
    let answer = client.describe_time_to_live().table_name(table).send().await?;
    let found = answer.time_to_live_description.filter(|found| {
        matches!(found.time_to_live_status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling))
    });
    Ok(found.and_then(|found| found.attribute_name))
}

async fn has_recovery(client: &Client, table: &str) -> Asked<bool, DescribeContinuousBackupsError> {
    let answer = client.describe_continuous_backups().table_name(table).send().await?;
    let recovery = answer
        .continuous_backups_description
        .and_then(|backups| backups.point_in_time_recovery_description)
        .and_then(|recovery| recovery.point_in_time_recovery_status);
    Ok(recovery == Some(PointInTimeRecoveryStatus::Enabled))
}

async fn tags_of(client: &Client, arn: &str) -> Asked<BTreeMap<String, String>, ListTagsOfResourceError> {
    let (mut tags, mut next) = (BTreeMap::new(), None);
    loop {
        let page = client.list_tags_of_resource().resource_arn(arn).set_next_token(next).send().await?;
        tags.extend(page.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
        next = page.next_token;
        if next.is_none() {
            return Ok(tags);
        }
    }
}

async fn purge(client: &Client, table: &str) -> Result<()> {
    let doing = format!("UpdateTimeToLive table={table}");
    let by = TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build();
    let by = by.map_err(|error| Error::internal(format!("{doing} ({error})")))?;
    let update = client.update_time_to_live().table_name(table).time_to_live_specification(by).send().await;
    update.map(drop).map_err(|error| errors::of(&doing, error))
}

async fn recover(client: &Client, table: &str) -> Result<()> {
    let doing = format!("UpdateContinuousBackups table={table}");
    let on = PointInTimeRecoverySpecification::builder().point_in_time_recovery_enabled(true).build();
    let on = on.map_err(|error| Error::internal(format!("{doing} ({error})")))?;
    let asked = async {
        loop {
            let update = client.update_continuous_backups().table_name(table);
            match update.point_in_time_recovery_specification(on.clone()).send().await {
                Ok(_) => return Ok(()),
                Err(error) if errors::code(&error) == Some("ContinuousBackupsUnavailableException") => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(errors::of(&doing, error)),
            }
        }
    };
    let late = || format!("backups of a table are not available yet: {doing} waited={}s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Error::transient(late())))
}
