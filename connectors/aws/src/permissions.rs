//! What a process must be allowed to do, for each thing that a configuration names.
//!
//! An action is what IAM calls it, in most cases like the operation of the service; a transaction needs those of its parts.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesisdatastreams.html>
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazondynamodb.html>

#[cfg(test)]
mod tests;

use crate::{dynamodb::Provision, kinesis::Reading};

const STREAM: &[&str] = &[
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
];
const CONSUMER: &[&str] = &["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"];
const CONSUMER_BY_NAME: &[&str] =
    &["kinesis:DescribeStreamConsumer", "kinesis:RegisterStreamConsumer", "kinesis:SubscribeToShard"];
const STATE: &[&str] = &[
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
];
const LEASES: &[&str] = &[
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Scan",
    "dynamodb:UpdateItem",
];
const DOCUMENTS: &[&str] =
    &["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:PutItem"];
const SEE_BACKUPS: &[&str] = &["dynamodb:DescribeContinuousBackups"];
const SEE_TAGS: &[&str] = &["dynamodb:ListTagsOfResource"];
const SWITCH_PURGES_ON: &[&str] = &["dynamodb:UpdateTimeToLive"];
const SWITCH_BACKUPS_ON: &[&str] = &["dynamodb:UpdateContinuousBackups"];
/// A table that is made with tags needs it.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Tagging.Operations.html>
const TAG: &[&str] = &["dynamodb:TagResource"];
const READ_EVENTS: &[&str] = &["dynamodb:DescribeTable", "dynamodb:Query"];
const READ_CHANGES: &[&str] =
    &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"];
const FIND_STREAM: &[&str] = &["dynamodb:DescribeTable"];
const RELAY: &[&str] = &["kinesis:DescribeStreamSummary", "kinesis:PutRecords"];
/// Rows and leases of a relay change one by one.
const RELAY_STATE: &[&str] = &[
    "dynamodb:DeleteItem",
    "dynamodb:DescribeTable",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
];
const APPEND_EVENTS: &[&str] = &["dynamodb:PutItem"];
const MAKE_TABLES: &[&str] = &["dynamodb:CreateTable"];
const LIST_DOCUMENTS: &[&str] = &["dynamodb:Scan"];
const REMOVE_TABLES: &[&str] = &["dynamodb:DeleteTable"];

/// Where resources are, as their ARNs say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// `aws`, or that of another part of AWS such as `aws-cn`.
    pub partition: String,
    pub region: String,
    /// Twelve digits.
    pub account: String,
}

/// Actions that are allowed on resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// What for, in letters and digits.
    pub id: &'static str,
    pub actions: &'static [&'static str],
    /// ARNs.
    pub resources: Vec<String>,
}

/// A table of documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentTable {
    pub name: String,
    /// Whether it may be made.
    pub create: bool,
    pub provision: Provision,
}

/// What a configuration names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// By name or ARN, and how each is read.
    pub streams: Vec<(String, Reading)>,
    pub state_table: Option<String>,
    pub lease_tables: Vec<String>,
    pub document_tables: Vec<DocumentTable>,
    /// Streams, and the tables of the events in them.
    pub relayed: Vec<(String, String)>,
    /// Whose streams are read.
    pub tables_with_streams: Vec<String>,
    /// With the index that holds all events in one order, if there is one.
    pub event_tables: Vec<(String, Option<String>)>,
}

impl Named {
    /// What `foldstream run` needs.
    pub fn to_run(&self, location: &Location) -> Vec<Permission> {
        let streams = self.streams.iter().map(|(stream, _)| location.stream(stream));
        let (registered, found) = (self.consumers(location, false), self.consumers(location, true));
        let tables = |names: &[String]| names.iter().map(|name| location.table(name)).collect();
        let state: Vec<String> = self.state_table.iter().map(|name| location.table(name)).collect();
        let documents = self.document_tables.iter().map(|table| location.table(&table.name));
        let backed_up = |is_made: bool| {
            let is_meant = |table: &DocumentTable| table.provision.point_in_time_recovery;
            self.documents(location, |table| is_meant(table) && (table.create || !is_made))
        };
        let tagged = |is_made: bool| {
            let is_meant = |table: &DocumentTable| !table.provision.tags.is_empty();
            self.documents(location, |table| is_meant(table) && (table.create || !is_made))
        };
        let purged =
            self.documents(location, |table| table.create && table.provision.purge_deleted_after.is_some());
        let permissions = [
            ("ReadStreams", STREAM, streams.collect()),
            ("SubscribeAsOwnConsumer", CONSUMER_BY_NAME, registered),
            ("SubscribeAsGivenConsumer", CONSUMER, found),
            ("KeepState", STATE, state.clone()),
            ("KeepLeases", LEASES, tables(&self.lease_tables)),
            ("WriteDocuments", DOCUMENTS, documents.collect()),
            ("ReadEvents", READ_EVENTS, self.events(location)),
            ("ReadChanges", READ_CHANGES, self.changes(location)),
            ("MakeTables", MAKE_TABLES, [state, tables(&self.lease_tables), self.made(location)].concat()),
            ("SeeBackups", SEE_BACKUPS, backed_up(false)),
            ("SwitchBackupsOn", SWITCH_BACKUPS_ON, backed_up(true)),
            ("SeeTags", SEE_TAGS, tagged(false)),
            ("TagTables", TAG, tagged(true)),
            ("SwitchPurgesOn", SWITCH_PURGES_ON, purged),
        ];
        allowed(permissions)
    }

    /// A stream's ARN ends with when it was switched on.
    fn changes(&self, location: &Location) -> Vec<String> {
        let streams = self.tables_with_streams.iter();
        streams.map(|table| format!("{}/stream/*", location.table(table))).collect()
    }

    fn events(&self, location: &Location) -> Vec<String> {
        let mut resources = Vec::new();
        for (table, index) in &self.event_tables {
            let table = location.table(table);
            resources.extend(index.iter().map(|index| format!("{table}/index/{index}")));
            resources.push(table);
        }
        resources
    }

    /// What `foldstream relay` needs, of each source that has an event table: its stream, its table, and where it keeps how far
    /// it is.
    pub fn to_relay(&self, location: &Location) -> Vec<Permission> {
        let streams = self.relayed.iter().map(|(stream, _)| location.stream(stream)).collect();
        let tables = || self.relayed.iter().map(|(_, table)| location.table(table));
        let changes = tables().map(|table| format!("{table}/stream/*")).collect();
        let state: Vec<String> = self.state_table.iter().map(|name| location.table(name)).collect();
        allowed([
            ("RelayInto", RELAY, streams),
            ("RelayFrom", READ_CHANGES, changes),
            ("FindStream", FIND_STREAM, tables().collect()),
            ("KeepState", RELAY_STATE, state.clone()),
            ("MakeTables", MAKE_TABLES, state),
        ])
    }

    /// What commands of an operator need beside what a run needs: `documents list`, `projections delete`, `events append`.
    pub fn to_operate(&self, location: &Location) -> Vec<Permission> {
        let documents = self.document_tables.iter().map(|table| location.table(&table.name));
        let event_tables = self.event_tables.iter().map(|(name, _)| location.table(name));
        allowed([
            ("ListDocuments", LIST_DOCUMENTS, documents.collect()),
            ("RemoveDocumentTables", REMOVE_TABLES, self.made(location)),
            ("AppendEvents", APPEND_EVENTS, event_tables.collect()),
        ])
    }

    fn made(&self, location: &Location) -> Vec<String> {
        self.documents(location, |table| table.create)
    }

    fn documents(&self, location: &Location, which: impl Fn(&DocumentTable) -> bool) -> Vec<String> {
        let tables = self.document_tables.iter().filter(|table| which(table));
        tables.map(|table| location.table(&table.name)).collect()
    }

    /// A consumer is asked for under its stream's ARN, and subscribes under its own, which ends with when it was registered.
    fn consumers(&self, location: &Location, are_given: bool) -> Vec<String> {
        let mut resources = Vec::new();
        for (stream, reading) in &self.streams {
            let Reading::FanOut { consumer } = reading else { continue };
            if is_arn(consumer) != are_given {
                continue;
            }
            let stream = location.stream(stream);
            resources.push(match are_given {
                true => consumer.clone(),
                false => format!("{stream}/consumer/{consumer}:*"),
            });
            resources.push(stream);
        }
        resources
    }
}

impl Location {
    fn stream(&self, named: &str) -> String {
        match is_arn(named) {
            true => named.to_owned(),
            false => self.arn("kinesis", &format!("stream/{named}")),
        }
    }

    fn table(&self, name: &str) -> String {
        self.arn("dynamodb", &format!("table/{name}"))
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        let Self { partition, region, account } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }
}

fn is_arn(named: &str) -> bool {
    named.starts_with("arn:")
}

/// Those that have resources, each resource once.
fn allowed<const N: usize>(
    permissions: [(&'static str, &'static [&'static str], Vec<String>); N],
) -> Vec<Permission> {
    let all = permissions.into_iter().map(|(id, actions, mut resources)| {
        resources.sort();
        resources.dedup();
        Permission { id, actions, resources }
    });
    all.filter(|permission| !permission.resources.is_empty()).collect()
}
