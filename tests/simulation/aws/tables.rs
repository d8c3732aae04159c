//! DynamoDB in memory, as far as the connectors call it; whatever else is asked of it ends the run.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Operations_Amazon_DynamoDB.html>

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use foldstream_aws::memory::Reply;
use serde_json::{Value, json};

use super::expressions::{self, Item, Scope};

/// Partition and sort key, both texts; no sort key is an empty one.
pub type Key = (String, String);

/// What a request has done to one item.
pub struct Change {
    pub table: String,
    pub before: Option<Item>,
    pub after: Option<Item>,
}

/// What a request comes to, or with what it is refused.
type Answer = Result<Value, Reply>;

#[derive(Default)]
pub struct Tables {
    tables: BTreeMap<String, Table>,
    /// Tables that were ever made.
    made: u64,
    /// Tokens of transactions that were done: the same one again is done already.
    done: BTreeSet<String>,
}

struct Table {
    description: Value,
    partition: String,
    sort: Option<String>,
    items: BTreeMap<Key, Item>,
}

fn refused(code: &'static str, with: Value) -> Reply {
    Reply::Failed { status: 400, code, with }
}

pub fn item_of(value: &Value) -> Item {
    let attributes = value.as_object().expect("attributes").iter();
    attributes.map(|(name, value)| (name.clone(), value.clone())).collect()
}

pub fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name)?.get("S")?.as_str()
}

impl Table {
    fn key(&self, item: &Item) -> Result<Key, Reply> {
        let part = |name: &str| match text(item, name).unwrap_or_default() {
            "" => Err(refused("ValidationException", json!({ "message": "a key is missing or empty" }))),
            text => Ok(text.to_owned()),
        };
        let sort = self.sort.as_deref().map_or(Ok(String::new()), part)?;
        Ok((part(&self.partition)?, sort))
    }

    fn key_item(&self, key: &Key) -> Value {
        let mut item = json!({ self.partition.as_str(): { "S": key.0 } });
        if let Some(sort) = &self.sort {
            item[sort.as_str()] = json!({ "S": key.1 });
        }
        item
    }

    /// At most so many items of a partition, or of all, behind the one that the request names; and where the next begin.
    fn page(
        &self,
        input: &Value,
        most: usize,
        partition: Option<&str>,
        is_meant: impl Fn(&Item) -> bool,
    ) -> Value {
        let start = input["ExclusiveStartKey"].is_object().then(|| item_of(&input["ExclusiveStartKey"]));
        let from = match (start, partition) {
            (Some(start), _) => Bound::Excluded(self.key(&start).expect("a key")),
            (None, Some(partition)) => Bound::Included((partition.to_owned(), String::new())),
            (None, None) => Bound::Unbounded,
        };
        let limit =
            input["Limit"].as_u64().map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let most = limit.min(most).max(1);
        let behind = self.items.range((from, Bound::Unbounded));
        let of_partition = behind.take_while(|(key, _)| partition.is_none_or(|partition| key.0 == partition));
        let page: Vec<_> = of_partition.filter(|(_, item)| is_meant(item)).take(most).collect();
        let filter = input["FilterExpression"].as_str();
        let scope = Scope::of(input);
        let found = page.iter().filter(|(_, item)| filter.is_none_or(|filter| scope.holds(filter, item)));
        let projection = input["ProjectionExpression"].as_str();
        let found: Vec<Item> = found.map(|(_, item)| expressions::project(item, projection)).collect();
        let last = page.last().filter(|_| page.len() == most).map(|(key, _)| self.key_item(key));
        let mut answer = json!({ "Items": found, "Count": found.len() });
        if let Some(last) = last {
            answer["LastEvaluatedKey"] = last;
        }
        answer
    }
}

impl Tables {
    fn table(&mut self, input: &Value) -> Result<&mut Table, Reply> {
        let name = input["TableName"].as_str().expect("a table");
        self.named(name)
    }

    fn named(&mut self, name: &str) -> Result<&mut Table, Reply> {
        self.tables
            .get_mut(name)
            .ok_or_else(|| refused("ResourceNotFoundException", json!({ "message": "no such table" })))
    }

    /// What is stored under a key.
    pub fn item(&self, table: &str, key: &Key) -> Option<&Item> {
        self.tables.get(table)?.items.get(key)
    }

    /// The items of a partition of a table, in the order of their sort keys.
    pub fn partition<'t>(&'t self, table: &str, partition: &'t str) -> impl Iterator<Item = &'t Item> {
        let from = (partition.to_owned(), String::new());
        let behind =
            self.tables.get(table).into_iter().flat_map(move |table| table.items.range(from.clone()..));
        behind.take_while(move |(key, _)| key.0 == partition).map(|(_, item)| item)
    }

    /// All items of a table, in the order of their keys.
    pub fn items(&self, table: &str) -> impl Iterator<Item = &Item> {
        self.tables.get(table).into_iter().flat_map(|table| table.items.values())
    }

    /// Carries a request out, of which as many parts are answered at once.
    pub fn answer(
        &mut self,
        operation: &str,
        input: &Value,
        most: usize,
        changes: &mut Vec<Change>,
    ) -> Reply {
        let answer = match operation {
            "DescribeTable" => self.table(input).map(|table| json!({ "Table": table.description })),
            "DescribeTimeToLive" => {
                let disabled = json!({ "TimeToLiveDescription": { "TimeToLiveStatus": "DISABLED" } });
                self.table(input).map(|_| disabled)
            }
            "CreateTable" => self.create(input),
            "DeleteTable" => self.remove(input),
            "GetItem" => self.get(input),
            "BatchGetItem" => self.batch_get(input, most),
            "TransactGetItems" => self.transact_get(input),
            "Query" => self.query(input, most),
            "Scan" => self.table(input).map(|table| table.page(input, most, None, |_| true)),
            "PutItem" | "UpdateItem" | "DeleteItem" => self.change(operation, input, changes),
            "BatchWriteItem" => self.batch_write(input, most, changes),
            "TransactWriteItems" => self.transact(input, changes),
            _ => panic!("DynamoDB in memory does not know {operation}"),
        };
        answer.map_or_else(|refused| refused, Reply::Done)
    }

    fn create(&mut self, input: &Value) -> Answer {
        let name = input["TableName"].as_str().expect("a name").to_owned();
        if self.tables.contains_key(&name) {
            return Err(refused("ResourceInUseException", json!({ "message": "it is there" })));
        }
        self.made += 1;
        let mut description = json!({
            "TableName": name,
            "TableStatus": "ACTIVE",
            "TableId": format!("table-{}", self.made),
            "KeySchema": input["KeySchema"],
            "AttributeDefinitions": input["AttributeDefinitions"],
        });
        if input["GlobalSecondaryIndexes"].is_array() {
            description["GlobalSecondaryIndexes"] = input["GlobalSecondaryIndexes"].clone();
        }
        let attribute = |kind: &str| {
            let schema = input["KeySchema"].as_array().into_iter().flatten();
            let found = schema.into_iter().find(|element| element["KeyType"] == kind)?;
            found["AttributeName"].as_str().map(str::to_owned)
        };
        let partition = attribute("HASH").expect("a partition key");
        let table = Table {
            description: description.clone(),
            partition,
            sort: attribute("RANGE"),
            items: BTreeMap::new(),
        };
        self.tables.insert(name, table);
        Ok(json!({ "TableDescription": description }))
    }

    fn remove(&mut self, input: &Value) -> Answer {
        self.table(input)?;
        self.tables.remove(input["TableName"].as_str().unwrap_or_default());
        Ok(json!({}))
    }

    fn get(&mut self, input: &Value) -> Answer {
        let table = self.table(input)?;
        let key = table.key(&item_of(&input["Key"]))?;
        Ok(table.items.get(&key).map_or(json!({}), |item| json!({ "Item": item })))
    }

    fn batch_get(&mut self, input: &Value, most: usize) -> Answer {
        let (mut responses, mut unprocessed, mut left) = (json!({}), json!({}), most);
        for (name, wanted) in input["RequestItems"].as_object().expect("tables") {
            let table = self.named(name)?;
            let mut found = Vec::new();
            let keys = wanted["Keys"].as_array().expect("keys");
            let (now, later) = keys.split_at(keys.len().min(left));
            left -= now.len();
            for key in now {
                found.extend(table.items.get(&table.key(&item_of(key))?));
            }
            responses[name] = json!(found);
            if !later.is_empty() {
                unprocessed[name] = json!({ "Keys": later, "ConsistentRead": wanted["ConsistentRead"] });
            }
        }
        Ok(json!({ "Responses": responses, "UnprocessedKeys": unprocessed }))
    }

    fn transact_get(&mut self, input: &Value) -> Answer {
        let gets = input["TransactItems"].as_array().expect("items").iter();
        let found: Result<Vec<Value>, Reply> = gets.map(|get| self.get(&get["Get"])).collect();
        Ok(json!({ "Responses": found? }))
    }

    fn query(&mut self, input: &Value, most: usize) -> Answer {
        let condition = input["KeyConditionExpression"].as_str().expect("a condition");
        assert!(condition.starts_with("pk = :pk"), "not understood: {condition}");
        let partition = input["ExpressionAttributeValues"][":pk"]["S"].as_str().expect("a key").to_owned();
        let scope = Scope::of(input);
        let is_meant = |item: &Item| scope.holds(condition, item);
        Ok(self.table(input)?.page(input, most, Some(&partition), is_meant))
    }

    /// The key of the item that an action is about, what is stored of it, and what there is to be.
    fn meant(&mut self, operation: &str, action: &Value) -> Result<(Key, Option<Item>, Option<Item>), Reply> {
        let table = self.table(action)?;
        let named = if operation == "PutItem" { &action["Item"] } else { &action["Key"] };
        let named = item_of(named);
        let key = table.key(&named)?;
        let stored = table.items.get(&key).cloned();
        let condition = action["ConditionExpression"].as_str();
        let scope = Scope::of(action);
        if condition.is_some_and(|condition| !scope.holds(condition, &stored.clone().unwrap_or_default())) {
            let wanted = action["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
            let with = stored.filter(|_| wanted).map_or(json!({}), |item| json!({ "Item": item }));
            return Err(refused("ConditionalCheckFailedException", with));
        }
        let after = match operation {
            "PutItem" => Some(named),
            "UpdateItem" => {
                let mut item = stored.clone().unwrap_or(named);
                scope.update(action["UpdateExpression"].as_str().expect("an update"), &mut item);
                Some(item)
            }
            "DeleteItem" => None,
            // A check changes nothing.
            _ => stored.clone(),
        };
        Ok((key, stored, after))
    }

    fn change(&mut self, operation: &str, action: &Value, changes: &mut Vec<Change>) -> Answer {
        let (key, before, after) = self.meant(operation, action)?;
        let table = self.table(action)?;
        match &after {
            Some(item) => drop(table.items.insert(key, item.clone())),
            None => drop(table.items.remove(&key)),
        }
        let name = action["TableName"].as_str().unwrap_or_default().to_owned();
        changes.push(Change { table: name, before, after });
        Ok(json!({}))
    }

    fn batch_write(&mut self, input: &Value, most: usize, changes: &mut Vec<Change>) -> Answer {
        let (mut unprocessed, mut left) = (json!({}), most);
        for (name, requests) in input["RequestItems"].as_object().expect("tables") {
            let requests = requests.as_array().expect("requests");
            let (now, later) = requests.split_at(requests.len().min(left));
            left -= now.len();
            for request in now {
                let delete = json!({ "TableName": name, "Key": request["DeleteRequest"]["Key"] });
                self.change("DeleteItem", &delete, changes)?;
            }
            if !later.is_empty() {
                unprocessed[name] = json!(later);
            }
        }
        Ok(json!({ "UnprocessedItems": unprocessed }))
    }

    /// All or nothing, and once for each token.
    fn transact(&mut self, input: &Value, changes: &mut Vec<Change>) -> Answer {
        let token = input["ClientRequestToken"].as_str().expect("a token").to_owned();
        if self.done.contains(&token) {
            return Ok(json!({}));
        }
        let operations =
            [("Put", "PutItem"), ("Update", "UpdateItem"), ("Delete", "DeleteItem"), ("ConditionCheck", "")];
        let actions = input["TransactItems"].as_array().expect("actions").iter().map(|action| {
            let (kind, operation) =
                operations.iter().find(|(kind, _)| action[*kind].is_object()).expect("an action");
            (*operation, &action[*kind])
        });
        let actions: Vec<_> = actions.collect();
        let mut reasons = Vec::new();
        for (operation, action) in &actions {
            reasons.push(match self.meant(operation, action) {
                Ok(_) => json!({ "Code": "None" }),
                Err(Reply::Failed { code: "ConditionalCheckFailedException", with, .. }) => {
                    let mut reason = with;
                    reason["Code"] = json!("ConditionalCheckFailed");
                    reason
                }
                Err(other) => return Err(other),
            });
        }
        if reasons.iter().any(|reason| reason["Code"] != "None") {
            return Err(cancelled(reasons));
        }
        for (operation, action) in actions.into_iter().filter(|(operation, _)| !operation.is_empty()) {
            self.change(operation, action, changes)?;
        }
        self.done.insert(token);
        Ok(json!({}))
    }
}

/// A transaction that was not done.
pub fn cancelled(reasons: Vec<Value>) -> Reply {
    refused("TransactionCanceledException", json!({ "Message": "cancelled", "CancellationReasons": reasons }))
}
