mod decimals;
mod json;
mod paths;

use std::sync::Arc;

use proptest::prelude::*;

use super::{Decimal, Map, Value};

pub(super) fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn json(text: &str) -> Value {
    Value::parse(text.as_bytes()).unwrap()
}

/// Few names, so that paths meet fields.
pub(super) fn names() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("long name"), Just("é\"\n")].prop_map(Arc::from)
}

pub(super) fn number_texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|integer| integer.to_string()),
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        "-?(0|[1-9][0-9]{0,50})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?",
    ]
}

pub(super) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        number_texts().prop_map(|text| Value::Number(number(&text))),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(names(), inner, 0..5)
                .prop_map(|fields| Value::from(Map::from_iter(fields))),
        ]
    })
}
