//! Where a lease is stored, and the requests that read and change it there.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{delete_item::DeleteItemError, put_item::PutItemError, update_item::UpdateItemError},
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld},
};
use foldstream_model::{Error, Lease, LeaseKey, Result, SourceName, ports::PutLease};

use super::{
    super::state::{self, Item, PARTITION, StateTable},
    change::{self, Change},
    kcl::{self, CHECKPOINT_OWNER, LEASE_COUNTER, LEASE_OWNER},
};
use crate::errors;

/// In rows of our own: the lease's key as JSON.
const KEY: &str = "lease";

pub(super) struct Place<'s> {
    pub state: &'s StateTable,
    pub source: &'s SourceName,
    pub key: &'s LeaseKey,
    /// KCL's; none: the state table.
    pub table: Option<&'s str>,
}

/// The partition of the state table that has a source's leases.
pub(super) fn partition(source: &SourceName) -> String {
    format!("leases/{source}")
}

/// The key of a lease of our own.
pub(super) fn key(item: &Item) -> Result<LeaseKey> {
    let text = state::text_of(item, KEY)?;
    serde_json::from_str(text)
        .map_err(|error| Error::internal(format!("a lease's key cannot be read: key={text} ({error})")))
}

fn json(key: &LeaseKey) -> Result<String> {
    serde_json::to_string(key)
        .map_err(|error| Error::internal(format!("a lease's key cannot be written: key={key} ({error})")))
}

impl Place<'_> {
    pub(super) async fn get(&self) -> Result<Option<Lease>> {
        let request = self.state.client.get_item().table_name(self.table_name());
        let request = request.set_key(Some(self.item_key()?)).consistent_read(true);
        let answer = request.send().await.map_err(|error| errors::of(&self.doing("GetItem"), error))?;
        self.read(answer.item)
    }

    /// Puts one where there is none; `in_use`: for a worker of ours.
    pub(super) async fn create(&self, attributes: Item, in_use: bool) -> Result<PutLease> {
        let mut item = self.item_key()?;
        item.extend(attributes);
        let (name, value) = match self.table {
            Some(_) => (kcl::ENTITY_TYPE, kcl::LEASE.to_owned()),
            None => (KEY, json(self.key)?),
        };
        item.insert(name.to_owned(), state::text(&value));
        if self.table.is_some() {
            item.insert(kcl::MADE_HERE.to_owned(), AttributeValue::Bool(in_use));
        }
        let key = if self.table.is_some() { kcl::LEASE_KEY } else { PARTITION };
        let request = self.state.client.put_item().table_name(self.table_name()).set_item(Some(item));
        let request = request
            .condition_expression(format!("attribute_not_exists({key})"))
            .return_values_on_condition_check_failure(AllOld);
        match request.send().await {
            Ok(_) => Ok(PutLease::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let PutItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                Ok(PutLease::Conflict(self.read(failed.item)?))
            }
            Err(error) => Err(errors::of(&self.doing("PutItem"), error)),
        }
    }

    pub(super) async fn update(&self, expected: &Lease, change: Change) -> Result<PutLease> {
        self.update_if("", expected, change).await
    }

    /// Changes a lease that is not used here any more. One that was made here says so.
    pub(super) async fn leave(&self, expected: &Lease, change: Change) -> Result<PutLease> {
        let mut left = change.clone();
        left.set.push((kcl::MADE_HERE, AttributeValue::Bool(false)));
        let was_made_here = format!(" AND attribute_exists({})", kcl::MADE_HERE);
        match self.update_if(&was_made_here, expected, left).await? {
            PutLease::Conflict(Some(stored)) if stored.state() == expected.state() => {
                self.update(expected, change).await
            }
            answer => Ok(answer),
        }
    }

    /// Removes the row of a shard that was settled to its end, whoever has made it.
    pub(super) async fn remove_ended(&self) -> Result<()> {
        let request = self.state.client.delete_item().table_name(self.table_name());
        let request = request
            .set_key(Some(self.item_key()?))
            .condition_expression(format!("{} = :end", kcl::CHECKPOINT))
            .expression_attribute_values(":end", state::text(kcl::SHARD_END));
        match request.send().await {
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                Ok(())
            }
            Err(error) => Err(errors::of(&self.doing("DeleteItem"), error)),
            Ok(_) => Ok(()),
        }
    }

    async fn update_if(&self, further: &str, expected: &Lease, change: Change) -> Result<PutLease> {
        let (mut condition, mut values) = condition(expected);
        condition.push_str(further);
        let change = expression(change, &mut values);
        let request = self.state.client.update_item().table_name(self.table_name());
        let request = request
            .set_key(Some(self.item_key()?))
            .update_expression(change)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(AllOld);
        match request.send().await {
            Ok(_) => Ok(PutLease::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let UpdateItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                Ok(PutLease::Conflict(self.read(failed.item)?))
            }
            Err(error) => Err(errors::of(&self.doing("UpdateItem"), error)),
        }
    }

    pub(super) async fn delete(&self, expected: &Lease) -> Result<PutLease> {
        let (mut condition, values) = condition(expected);
        if self.table.is_some() {
            condition.push_str(&format!(" AND attribute_exists({})", kcl::MADE_HERE));
        }
        let request = self.state.client.delete_item().table_name(self.table_name());
        let request = request
            .set_key(Some(self.item_key()?))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values_on_condition_check_failure(AllOld);
        match request.send().await {
            Ok(_) => Ok(PutLease::Done),
            Err(SdkError::ServiceError(error)) if error.err().is_conditional_check_failed_exception() => {
                let DeleteItemError::ConditionalCheckFailedException(failed) = error.into_err() else {
                    unreachable!("it was one just now")
                };
                let stored = self.read(failed.item)?;
                match stored.as_ref().map(Lease::state) == Some(expected.state()) {
                    true => self.update(expected, change::free(expected)).await,
                    false => Ok(PutLease::Conflict(stored)),
                }
            }
            Err(error) => Err(errors::of(&self.doing("DeleteItem"), error)),
        }
    }

    fn read(&self, item: Option<Item>) -> Result<Option<Lease>> {
        match item.filter(|item| !item.is_empty()) {
            Some(item) if kcl::is_lease(&item) => kcl::lease(self.key.clone(), &item).map(Some),
            Some(_) => Err(Error::invalid(format!(
                "KCL keeps something else under this key: {}; name another table for source={}",
                self.doing("the row of a lease"),
                self.source
            ))),
            None => Ok(None),
        }
    }

    fn table_name(&self) -> &str {
        self.table.unwrap_or(&self.state.name)
    }

    fn item_key(&self) -> Result<Item> {
        match (self.table, self.key) {
            (Some(_), LeaseKey::Shard(shard)) => {
                Ok(Item::from([(kcl::LEASE_KEY.to_owned(), state::text(shard.as_str()))]))
            }
            _ => state::key(&partition(self.source), &self.key.to_string()),
        }
    }

    fn doing(&self, operation: &str) -> String {
        format!("{operation} table={} source={} lease={}", self.table_name(), self.source, self.key)
    }
}

/// Holder, owner and counter are as expected.
fn condition(expected: &Lease) -> (String, Item) {
    let mut values = Item::from([(":was".to_owned(), state::number(expected.counter))]);
    let mut condition = format!("{LEASE_COUNTER} = :was");
    for (name, value, worker) in
        [(LEASE_OWNER, ":owned", &expected.owner), (CHECKPOINT_OWNER, ":held", &expected.from)]
    {
        match worker {
            Some(worker) => {
                condition.push_str(&format!(" AND {name} = {value}"));
                values.insert(value.to_owned(), state::text(worker.as_str()));
            }
            None => condition.push_str(&format!(" AND attribute_not_exists({name})")),
        }
    }
    (condition, values)
}

/// The expression of a change, whose values are added to others.
fn expression(change: Change, values: &mut Item) -> String {
    let mut value = |value: AttributeValue| {
        let name = format!(":v{}", values.len());
        values.insert(name.clone(), value);
        name
    };
    let mut sets = Vec::new();
    for (name, new) in change.set {
        sets.push(format!("{name} = {}", value(new)));
    }
    for (name, new) in change.set_absent {
        sets.push(format!("{name} = if_not_exists({name}, {})", value(new)));
    }
    let mut expression = format!("SET {}", sets.join(", "));
    if !change.remove.is_empty() {
        expression.push_str(&format!(" REMOVE {}", change.remove.join(", ")));
    }
    if let Some(name) = change.add_one {
        expression.push_str(&format!(" ADD {name} {}", value(state::number(1))));
    }
    expression
}
