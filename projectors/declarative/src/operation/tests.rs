use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use foldstream_model::{Decimal, EventId, Map, Path, Value};
use proptest::prelude::*;

use super::{Kind, Operation, Target, key, keys, rename};
use crate::expression::{Expression, Fault, Scope};

fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

fn map(text: &str) -> Arc<Map> {
    match json(text) {
        Value::Map(map) => map,
        other => panic!("{other:?} is no object"),
    }
}

fn operation(kind: Kind, path: &str, arguments: &[Value]) -> Operation {
    let arguments = arguments.iter().cloned().map(Expression::literal).collect();
    Operation::new(path.parse().unwrap(), kind, arguments)
}

/// Fields and hidden after the operations, each by the event with that id.
fn apply_all(fields: &Arc<Map>, operations: &[(Operation, &str)]) -> Result<(Value, Value), Fault> {
    let (mut fields, mut hidden) = (Arc::clone(fields), Arc::default());
    for (operation, id) in operations {
        let steps = Cell::new(0);
        let arguments = operation.evaluate(&Scope::empty(&steps))?;
        let mut target = Target { fields: &mut fields, hidden: &mut hidden };
        operation.apply(&arguments, Some(&EventId::new(*id)), &mut target)?;
    }
    Ok((Value::Map(fields), Value::Map(hidden)))
}

fn apply(fields: &str, kind: Kind, path: &str, arguments: &[&str]) -> Result<String, String> {
    let arguments: Vec<Value> = arguments.iter().map(|argument| json(argument)).collect();
    let operation = operation(kind, path, &arguments);
    apply_all(&map(fields), &[(operation, "e")])
        .map(|(fields, _)| fields.to_canonical_json())
        .map_err(|fault| fault.to_string())
}

#[track_caller]
fn assert_results(cases: &[(Kind, &str, &[&str], &str, &str)]) {
    for (kind, path, arguments, before, after) in cases {
        let done = apply(before, *kind, path, arguments);
        assert_eq!(done.as_deref(), Ok(*after), "{} {path} {arguments:?} on {before}", kind.name());
    }
}

#[test]
fn each_operation_changes_its_path() {
    assert_results(&[
        (Kind::Set, "a.b", &["[1]"], "{}", r#"{"a":{"b":[1]}}"#),
        (Kind::Set, "a", &["null"], r#"{"a":1}"#, r#"{"a":null}"#),
        (Kind::Unset, "a.b", &[], r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"c":2}}"#),
        (Kind::Unset, "a.b", &[], "{}", "{}"),
        (Kind::MergeMap, "a", &[r#"{"x":1}"#], r#"{"a":{"x":0,"y":2}}"#, r#"{"a":{"x":1,"y":2}}"#),
        (Kind::MergeMap, "a", &["null"], "{}", "{}"),
        (Kind::Add, "a", &["1.5"], "{}", r#"{"a":1.5}"#),
        (Kind::Add, "a", &["-1.5"], r#"{"a":1.50}"#, r#"{"a":0}"#),
        (Kind::Min, "a", &["3"], r#"{"a":5}"#, r#"{"a":3}"#),
        (Kind::Min, "a", &["null"], r#"{"a":5}"#, r#"{"a":5}"#),
        (Kind::Min, "a", &["null"], "{}", "{}"),
        (Kind::Max, "a", &["\"b\""], r#"{"a":"a"}"#, r#"{"a":"b"}"#),
        (Kind::Max, "a", &["1"], r#"{"a":null}"#, r#"{"a":1}"#),
        (Kind::Append, "a", &["[1]"], r#"{"a":[0]}"#, r#"{"a":[0,[1]]}"#),
        (Kind::PutEntry, "a", &["\"x.y\"", "{}"], "{}", r#"{"a":{"x.y":{}}}"#),
        (Kind::PutEntry, "a", &["[\"s\",1]", "2"], "{}", r#"{"a":{"[\"s\",1]":2}}"#),
        (Kind::DeleteEntry, "a", &["\"x\""], r#"{"a":{"x":1}}"#, r#"{"a":{}}"#),
        (Kind::DeleteEntry, "a", &["\"x\""], r#"{"a":null}"#, r#"{"a":null}"#),
        (Kind::AddToSet, "a", &["[\"b\",\"a\",\"b\",null]"], "{}", r#"{"a":["a","b"]}"#),
        (Kind::AddToSet, "a", &["2"], r#"{"a":[3,1,1]}"#, r#"{"a":[1,2,3]}"#),
        (Kind::AddToSet, "a", &["[]"], "{}", "{}"),
        (Kind::DeleteFromSet, "a", &["[1,5]"], r#"{"a":[1,2,3]}"#, r#"{"a":[2,3]}"#),
        (Kind::DeleteFromSet, "a", &["1"], "{}", "{}"),
    ]);
}

#[test]
fn what_cannot_be_done_is_a_fault_that_says_why() {
    for (kind, arguments, before, message) in [
        (Kind::Add, &["null"][..], "{}", "it takes a number, not null"),
        (Kind::Add, &["1"], r#"{"a":"x"}"#, "there is a string, not a number"),
        (Kind::Add, &["1"], r#"{"a":99999999999999999999999999999999999999.9}"#, "at most 38 digits"),
        (Kind::Max, &["true"], "{}", "it takes a number or a string, not a boolean"),
        (Kind::Append, &["1"], r#"{"a":{}}"#, "there is an object, not a list"),
        (Kind::PutEntry, &["null", "1"], "{}", "the key is null"),
        (Kind::PutEntry, &["\"\"", "1"], "{}", "the key is an empty string"),
        (Kind::MergeMap, &["1"], "{}", "it takes an object, not a number"),
        (Kind::SetLatest, &["1", "null"], "{}", "it goes by a number or a string, not null"),
        (Kind::Set, &["[123456789012345678901234567890123456789]"], "{}", "at most 38 digits"),
    ] {
        let fault = apply(before, kind, "a", arguments).unwrap_err();
        assert!(fault.contains(message), "{}: {fault}", kind.name());
    }
    assert!(apply(r#"{"a":1}"#, Kind::Set, "a.b", &["1"]).unwrap_err().contains("passes through a"));
    let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
    assert!(apply("{}", Kind::Set, "a", &[&deep]).is_ok());
    assert!(apply("{}", Kind::Set, "a.b", &[&deep]).unwrap_err().contains("nested more than 128 deep"));
}

#[test]
fn a_value_that_doubles_itself_with_every_event_stops_growing() {
    let mut value = Value::from("x".repeat(1_000));
    let mut doubled = 0;
    let fault = loop {
        value = Value::from(vec![value.clone(), value.clone()]);
        let operation = operation(Kind::Set, "a", std::slice::from_ref(&value));
        match operation.evaluate(&Scope::empty(&Cell::new(0))) {
            Ok(_) => doubled += 1,
            Err(fault) => break fault.to_string(),
        }
    };
    assert_eq!((doubled, fault.as_str()), (14, "the value is larger than 16777216 bytes"));
}

#[test]
fn keys_are_texts_without_doubles() {
    assert_eq!(&*key(&json("\"o-1\"")).unwrap(), "o-1");
    assert_eq!(&*key(&json("1.50")).unwrap(), "1.5");
    assert_eq!(&*key(&json("[\"a\",1]")).unwrap(), "[\"a\",1]");
    for none in ["null", "\"\"", "[]", "[null]", "[[1]]", "{}"] {
        assert!(key(&json(none)).is_err(), "{none}");
    }
    let found = keys(&json("[\"b\",\"a\",\"b\"]")).unwrap();
    assert_eq!(found.iter().map(|key| &**key).collect::<Vec<_>>(), ["a", "b"]);
    assert!(keys(&Value::Null).unwrap().is_empty());
    assert!(keys(&json("\"a\"")).is_err());
}

#[test]
fn a_renamed_field_moves_and_an_absent_one_does_not() {
    let path = |text: &str| text.parse::<Path>().unwrap();
    let mut fields = map(r#"{"client":{"id":1}}"#);
    rename(&path("client.id"), &path("customerId"), &mut fields).unwrap();
    rename(&path("none"), &path("customerId"), &mut fields).unwrap();
    assert_eq!(Value::Map(fields).to_canonical_json(), r#"{"client":{},"customerId":1}"#);
}

#[test]
fn a_value_that_is_set_outright_is_no_longer_the_pick_of_an_event() {
    let pick = |value: &str, by: &str| operation(Kind::SetLatest, "a.b", &[json(value), json(by)]);
    let set = operation(Kind::Set, "a", &[json("{}")]);
    let (fields, hidden) =
        apply_all(&map("{}"), &[(pick("1", "9"), "x"), (set, "y"), (pick("2", "5"), "z")]).unwrap();
    assert_eq!(fields.to_canonical_json(), r#"{"a":{"b":2}}"#);
    assert_eq!(hidden.to_canonical_json(), r#"{"a.b":[5,"z"]}"#);
}

/// The naive model: what each path holds, computed from all events at once, in whatever order they are given.
#[derive(Debug, Clone)]
struct Touching {
    id: String,
    stream: String,
    number: i64,
    text: String,
    by: i64,
}

fn touchings() -> impl Strategy<Value = Vec<Touching>> {
    let one = ("[a-c]", -50_i64..50, "[a-c]{0,2}", 0_i64..4);
    prop::collection::vec(one, 1..8).prop_map(|all| {
        let touching = |(index, (stream, number, text, by))| Touching {
            id: format!("e{index}"),
            stream,
            number,
            text,
            by,
        };
        all.into_iter().enumerate().map(touching).collect()
    })
}

/// What one event does, with every operation that commutes.
fn commuting(event: &Touching) -> Vec<(Operation, &str)> {
    let (number, text, by) =
        (Value::from(event.number), Value::from(event.text.as_str()), Value::from(event.by));
    let id = event.id.as_str();
    vec![
        (operation(Kind::Add, "sum", std::slice::from_ref(&number)), id),
        (operation(Kind::Min, "low", std::slice::from_ref(&number)), id),
        (operation(Kind::Max, "high.est", std::slice::from_ref(&text)), id),
        (operation(Kind::AddToSet, "set", &[Value::from(vec![number.clone(), text.clone()])]), id),
        (operation(Kind::SetLatest, "last", &[text.clone(), by.clone()]), id),
        (operation(Kind::SetEarliest, "first.one", &[number.clone(), by]), id),
    ]
}

fn expected(events: &[Touching]) -> Value {
    let numbers = || events.iter().map(|event| event.number);
    let texts = || events.iter().map(|event| Value::from(event.text.as_str()));
    let rank = |event: &&Touching| (event.by, event.id.clone());
    let set: BTreeSet<Value> = numbers().map(Value::from).chain(texts()).collect();
    let last = events.iter().max_by_key(rank).unwrap();
    let first = events.iter().min_by_key(rank).unwrap();
    let object = |name: &str, value: Value| Value::from(Map::from_iter([(Arc::from(name), value)]));
    Value::from(Map::from_iter([
        (Arc::from("sum"), Value::from(numbers().sum::<i64>())),
        (Arc::from("low"), Value::from(numbers().min().unwrap())),
        (Arc::from("high"), object("est", texts().max().unwrap())),
        (Arc::from("set"), Value::from(set.into_iter().collect::<Vec<_>>())),
        (Arc::from("last"), Value::from(last.text.as_str())),
        (Arc::from("first"), object("one", Value::from(first.number))),
    ]))
}

/// Sequential operations on one field, against a model that is a plain map, number and list.
#[derive(Debug, Clone)]
enum Sequential {
    Put(String, i64),
    Delete(String),
    Merge(BTreeMap<String, i64>),
    Append(i64),
    Add(String),
    AddToSet(Vec<i64>),
    DeleteFromSet(Vec<i64>),
    SetMap(BTreeMap<String, i64>),
    UnsetMap,
}

fn sequential() -> impl Strategy<Value = Sequential> {
    let name = || "[a-d]";
    let entries = || prop::collection::btree_map(name(), -9_i64..9, 0..4);
    prop_oneof![
        (name(), -9_i64..9).prop_map(|(name, value)| Sequential::Put(name, value)),
        name().prop_map(Sequential::Delete),
        entries().prop_map(Sequential::Merge),
        (-9_i64..9).prop_map(Sequential::Append),
        "-?[0-9]{1,3}\\.[0-9]{1,5}"
            .prop_filter("a JSON number", |text| text.parse::<Decimal>().is_ok())
            .prop_map(Sequential::Add),
        prop::collection::vec(-9_i64..9, 0..4).prop_map(Sequential::AddToSet),
        prop::collection::vec(-9_i64..9, 0..4).prop_map(Sequential::DeleteFromSet),
        entries().prop_map(Sequential::SetMap),
        Just(Sequential::UnsetMap),
    ]
}

#[derive(Default)]
struct Model {
    map: Option<BTreeMap<String, i64>>,
    list: Option<Vec<i64>>,
    /// in hundred-thousandths
    sum: Option<i64>,
    set: Option<BTreeSet<i64>>,
}

impl Model {
    fn apply(&mut self, step: &Sequential) {
        match step {
            Sequential::Put(name, value) => {
                self.map.get_or_insert_default().insert(name.clone(), *value);
            }
            Sequential::Delete(name) => {
                self.map.as_mut().map(|map| map.remove(name));
            }
            Sequential::Merge(entries) => self.map.get_or_insert_default().extend(entries.clone()),
            Sequential::Append(value) => self.list.get_or_insert_default().push(*value),
            Sequential::Add(text) => {
                let (whole, fraction) = text.split_once('.').unwrap();
                let digits: i64 = format!("{}{fraction:0<5}", whole.trim_start_matches('-')).parse().unwrap();
                *self.sum.get_or_insert_default() += if whole.starts_with('-') { -digits } else { digits };
            }
            Sequential::AddToSet(items) if items.is_empty() => {}
            Sequential::AddToSet(items) => self.set.get_or_insert_default().extend(items),
            Sequential::DeleteFromSet(items) => {
                self.set.as_mut().into_iter().for_each(|set| set.retain(|item| !items.contains(item)));
            }
            Sequential::SetMap(entries) => self.map = Some(entries.clone()),
            Sequential::UnsetMap => self.map = None,
        }
    }

    fn value(&self) -> Value {
        let list = |items: Vec<i64>| Value::from(items.into_iter().map(Value::from).collect::<Vec<_>>());
        let sum = self.sum.map(|sum| {
            let sum = Decimal::from(sum).checked_div(&Decimal::from(100_000_i64)).unwrap();
            (Arc::from("sum"), Value::from(sum))
        });
        let map = self.map.as_ref().map(|map| (Arc::from("map"), object(map)));
        let items = self.list.clone().map(|items| (Arc::from("list"), list(items)));
        let set = self.set.clone().map(|set| (Arc::from("set"), list(set.into_iter().collect())));
        Value::from(Map::from_iter(map.into_iter().chain(items).chain(sum).chain(set)))
    }
}

fn object(entries: &BTreeMap<String, i64>) -> Value {
    Value::from(
        entries.iter().map(|(name, value)| (Arc::from(name.as_str()), Value::from(*value))).collect::<Map>(),
    )
}

fn compiled(step: &Sequential) -> Operation {
    let list = |items: &[i64]| Value::from(items.iter().copied().map(Value::from).collect::<Vec<_>>());
    match step {
        Sequential::Put(name, value) => {
            operation(Kind::PutEntry, "map", &[Value::from(name.as_str()), Value::from(*value)])
        }
        Sequential::Delete(name) => operation(Kind::DeleteEntry, "map", &[Value::from(name.as_str())]),
        Sequential::Merge(entries) => operation(Kind::MergeMap, "map", &[object(entries)]),
        Sequential::Append(value) => operation(Kind::Append, "list", &[Value::from(*value)]),
        Sequential::Add(text) => operation(Kind::Add, "sum", &[json(text)]),
        Sequential::AddToSet(items) => operation(Kind::AddToSet, "set", &[list(items)]),
        Sequential::DeleteFromSet(items) => operation(Kind::DeleteFromSet, "set", &[list(items)]),
        Sequential::SetMap(entries) => operation(Kind::Set, "map", &[object(entries)]),
        Sequential::UnsetMap => operation(Kind::Unset, "map", &[]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn operations_that_commute_give_the_same_in_every_order(
        events in touchings(),
        seed in prop::collection::vec(any::<u32>(), 8),
    ) {
        let mut shuffled: Vec<(u32, &Touching)> = seed.into_iter().cycle().zip(&events).collect();
        shuffled.sort_by_key(|(key, _)| *key);
        let all = |events: Vec<&Touching>| {
            let operations: Vec<_> = events.iter().flat_map(|event| commuting(event)).collect();
            let owned: Vec<(Operation, &str)> = operations;
            apply_all(&map("{}"), &owned).unwrap()
        };
        let in_order = all(events.iter().collect());
        prop_assert_eq!(&in_order.0, &expected(&events));
        prop_assert_eq!(all(shuffled.into_iter().map(|(_, event)| event).collect()), in_order);
    }

    #[test]
    fn entries_under_the_streams_own_key_commute_between_streams(events in touchings()) {
        let put = |event: &Touching| {
            let key = Value::from(vec![Value::from(event.stream.as_str()), Value::from(event.text.as_str())]);
            operation(Kind::PutEntry, "entries", &[key, Value::from(event.number)])
        };
        let all = |events: &[&Touching]| {
            let operations: Vec<_> = events.iter().map(|event| (put(event), "")).collect();
            apply_all(&map("{}"), &operations).unwrap()
        };
        let in_order: Vec<&Touching> = events.iter().collect();
        let mut by_stream = in_order.clone();
        by_stream.sort_by(|left, right| right.stream.cmp(&left.stream));
        prop_assert_eq!(all(&in_order), all(&by_stream));
    }

    #[test]
    fn operations_agree_with_a_naive_model(steps in prop::collection::vec(sequential(), 0..20)) {
        let mut model = Model::default();
        let mut operations = Vec::new();
        for step in &steps {
            model.apply(step);
            operations.push((compiled(step), ""));
        }
        prop_assert_eq!(apply_all(&map("{}"), &operations).unwrap().0, model.value());
    }
}
