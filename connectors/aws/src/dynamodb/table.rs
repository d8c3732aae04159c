//! Tables: made where they are missing, and looked at where they are there.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    types::{
        self, AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
        Projection, ProjectionType, TableDescription, TableStatus,
    },
};
use foldstream_model::{Error, Result};

use super::{
    keys::KeyType,
    provision::{self, Provision},
    state::Item,
};
use crate::errors;

/// A table that is made takes some ten seconds.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(200);

/// What a table must be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Definition {
    pub name: String,
    pub key: Key,
    pub indexes: Vec<Index>,
    /// The attributes of keys that hold numbers, all others strings; none: whatever they hold, of a table that is not made here.
    pub numbers: Option<BTreeSet<String>>,
    pub provision: Provision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub partition: String,
    pub sort: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    pub name: String,
    pub key: Key,
    /// Whole items, or their keys alone.
    pub whole: bool,
}

/// Makes the table if it is not there, waits until it can be used, and checks it. Its description.
pub(crate) async fn ensure(client: &Client, wanted: &Definition) -> Result<TableDescription> {
    if describe(client, &wanted.name).await?.is_none() {
        create(client, wanted).await?;
    }
    let table = usable(client, &wanted.name).await?;
    check(wanted, &table)?;
    Ok(table)
}

/// Checks a table that must be there. `Invalid`: it is not; the message says `what_to_do`.
pub(crate) async fn existing(
    client: &Client,
    wanted: &Definition,
    what_to_do: &str,
) -> Result<TableDescription> {
    let table = describe(client, &wanted.name).await?.ok_or_else(|| {
        Error::invalid(format!("there is no such table: table={}; {what_to_do}", wanted.name))
    })?;
    check(wanted, &table)?;
    Ok(table)
}

/// None: there is no such table.
pub(crate) async fn describe(client: &Client, name: &str) -> Result<Option<TableDescription>> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error) if errors::is_missing(&error) => Ok(None),
        Err(error) => Err(errors::of(&format!("DescribeTable table={name}"), error)),
    }
}

async fn create(client: &Client, wanted: &Definition) -> Result<()> {
    let invalid =
        |error| Error::internal(format!("a table cannot be asked for: table={} ({error})", wanted.name));
    let Provision { deletion_protection, .. } = wanted.provision;
    let mut request = client.create_table().table_name(&wanted.name).billing_mode(BillingMode::PayPerRequest);
    request = request.set_deletion_protection_enabled(deletion_protection.then_some(true));
    for tag in provision::tags(&wanted.provision)? {
        request = request.tags(tag);
    }
    for element in key_schema(&wanted.key).map_err(invalid)? {
        request = request.key_schema(element);
    }
    for attribute in wanted.attributes() {
        let definition = AttributeDefinition::builder()
            .attribute_name(attribute)
            .attribute_type(wanted.holds(attribute).scalar())
            .build()
            .map_err(invalid)?;
        request = request.attribute_definitions(definition);
    }
    for index in &wanted.indexes {
        let projection = if index.whole { ProjectionType::All } else { ProjectionType::KeysOnly };
        let index = GlobalSecondaryIndex::builder()
            .index_name(&index.name)
            .set_key_schema(Some(key_schema(&index.key).map_err(invalid)?))
            .projection(Projection::builder().projection_type(projection).build())
            .build()
            .map_err(invalid)?;
        request = request.global_secondary_indexes(index);
    }
    match request.send().await {
        Ok(_) => {
            tracing::info!(table = wanted.name, "made a table");
            Ok(())
        }
        // Another worker was faster.
        Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_in_use_exception()) => {
            Ok(())
        }
        Err(error) => Err(errors::of(&format!("CreateTable table={}", wanted.name), error)),
    }
}

async fn usable(client: &Client, name: &str) -> Result<TableDescription> {
    let asked = async {
        loop {
            let table = describe(client, name).await?;
            match table.as_ref().and_then(TableDescription::table_status) {
                Some(TableStatus::Active | TableStatus::Updating) => {
                    return Ok(table.unwrap_or_else(|| unreachable!()));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| {
        Err(Error::transient(format!(
            "a table cannot be used yet: table={name} waited={}s",
            PATIENCE.as_secs()
        )))
    })
}

/// `Invalid`: it has another key, or lacks an index.
pub(crate) fn check(wanted: &Definition, table: &TableDescription) -> Result<()> {
    let found = Key::of(table.key_schema());
    if found.as_ref() != Some(&wanted.key) {
        return Err(Error::invalid(format!(
            "the table has another key: table={} key={} expected={}; name another table, or describe this one's key",
            wanted.name,
            found.map_or_else(|| "none".to_owned(), |key| key.to_string()),
            wanted.key
        )));
    }
    for index in &wanted.indexes {
        let found =
            table.global_secondary_indexes().iter().find(|found| found.index_name() == Some(&index.name));
        let key = found.and_then(|found| Key::of(found.key_schema()));
        if key.as_ref() != Some(&index.key) {
            return Err(Error::invalid(format!(
                "the table lacks an index, or it has another key: table={} index={} expected={}; make it, or name another table",
                wanted.name, index.name, index.key
            )));
        }
    }
    check_types(wanted, table)
}

/// `Invalid`: an attribute of a key holds something else.
fn check_types(wanted: &Definition, table: &TableDescription) -> Result<()> {
    let Some(_) = &wanted.numbers else { return Ok(()) };
    for name in wanted.attributes() {
        let defined = table.attribute_definitions().iter().find(|found| found.attribute_name() == name);
        let (found, expected) = (defined.map(|found| found.attribute_type().as_str()), wanted.holds(name));
        if found != Some(expected.scalar().as_str()) {
            return Err(Error::invalid(format!(
                "an attribute of a key holds something else: table={} attribute={name} type={} expected={}; name another table, or \
                 say what this one holds with `{{ attribute: {name}, type: … }}`",
                wanted.name,
                found.unwrap_or("none"),
                expected.scalar().as_str()
            )));
        }
    }
    Ok(())
}

impl Definition {
    fn holds(&self, attribute: &str) -> KeyType {
        match self.numbers.as_ref().is_some_and(|numbers| numbers.contains(attribute)) {
            true => KeyType::Number,
            false => KeyType::String,
        }
    }

    /// A key of the table that nothing has but by chance.
    pub(super) fn key_of(&self, text: &str) -> Item {
        let attributes = std::iter::once(&self.key.partition).chain(&self.key.sort);
        let value = |name: &String| match self.holds(name) {
            KeyType::String => AttributeValue::S(text.to_owned()),
            KeyType::Number => AttributeValue::N("0".to_owned()),
        };
        attributes.map(|name| (name.clone(), value(name))).collect()
    }

    /// The names of all attributes that a key has, each once.
    fn attributes(&self) -> Vec<&str> {
        let keys = std::iter::once(&self.key).chain(self.indexes.iter().map(|index| &index.key));
        let mut names: Vec<&str> =
            keys.flat_map(|key| [Some(key.partition.as_str()), key.sort.as_deref()]).flatten().collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Key {
    pub(crate) fn new(partition: &str, sort: Option<&str>) -> Self {
        Self { partition: partition.to_owned(), sort: sort.map(str::to_owned) }
    }

    pub(crate) fn of(schema: &[KeySchemaElement]) -> Option<Self> {
        let name = |kind: types::KeyType| {
            let element = schema.iter().find(|element| *element.key_type() == kind)?;
            Some(element.attribute_name().to_owned())
        };
        Some(Self { partition: name(types::KeyType::Hash)?, sort: name(types::KeyType::Range) })
    }
}

/// `partition`, or `partition + sort`.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.partition)?;
        self.sort.as_ref().map_or(Ok(()), |sort| write!(f, " + {sort}"))
    }
}

fn key_schema(key: &Key) -> Result<Vec<KeySchemaElement>, aws_sdk_dynamodb::error::BuildError> {
    let element = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let sort = key.sort.as_deref().map(|sort| element(sort, types::KeyType::Range));
    std::iter::once(element(&key.partition, types::KeyType::Hash)).chain(sort).collect()
}

/// Deletes a table, and waits until it is gone. One that is not there is no error.
pub(crate) async fn remove(client: &Client, name: &str) -> Result<()> {
    match client.delete_table().table_name(name).send().await {
        Ok(_) => {}
        Err(error) if errors::is_missing(&error) => return Ok(()),
        Err(error) => return Err(errors::of(&format!("DeleteTable table={name}"), error)),
    }
    let gone = async {
        while describe(client, name).await?.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, gone).await.unwrap_or_else(|_| {
        Err(Error::transient(format!("a table is still there: table={name} waited={}s", PATIENCE.as_secs())))
    })
}
