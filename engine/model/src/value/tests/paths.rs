use proptest::prelude::*;

use super::{json, names, values};
use crate::value::{Map, Path, PathError, Value};

fn path(text: &str) -> Path {
    text.parse().unwrap()
}

fn map(text: &str) -> Map {
    json(text).as_map().unwrap().clone()
}

fn text(map: Map) -> String {
    Value::from(map).to_canonical_json()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_was_set_is_found_and_what_was_removed_is_gone(
        fields in prop::collection::btree_map(names(), values(), 0..5),
        names in prop::collection::vec(names(), 1..4),
        value in values(),
    ) {
        let path = Path::new(names).unwrap();
        let fields = Map::from_iter(fields);
        let before = fields.clone();
        let mut changed = fields.clone();
        if path.set(&mut changed, value.clone()).is_ok() {
            prop_assert_eq!(path.get(&changed), Some(&value));
            prop_assert_eq!(path.remove(&mut changed).unwrap(), Some(value));
            prop_assert_eq!(path.get(&changed), None);
        }
        prop_assert_eq!(fields, before, "a shared object was changed");
    }
}

#[test]
fn objects_on_the_way_are_made() {
    let mut fields = map(r#"{"a":null,"x":{"y":1}}"#);
    path("a.b.c").set(&mut fields, Value::from(1_i64)).unwrap();
    path("x.z").set(&mut fields, Value::Null).unwrap();
    assert_eq!(text(fields), r#"{"a":{"b":{"c":1}},"x":{"y":1,"z":null}}"#);
}

#[test]
fn a_path_through_something_else_is_an_error_that_says_where() {
    let mut fields = map(r#"{"a":{"b":"text"}}"#);
    let error = path("a.b.c.d").set(&mut fields, Value::Null).unwrap_err();
    assert_eq!(error.to_string(), "the path a.b.c.d passes through a.b, which is a string and not an object");
    assert_eq!(
        path("a.b.c").remove(&mut fields),
        Err(PathError::ThroughNonMap { path: path("a.b.c"), at: "a.b".into(), found: "a string" })
    );
    assert_eq!(path("a.b.c").get(&fields), None);
}

#[test]
fn removing_nothing_changes_nothing() {
    let mut fields = map(r#"{"a":{"b":1}}"#);
    assert_eq!(path("c.d").remove(&mut fields), Ok(None));
    assert_eq!(path("a.c").remove(&mut fields), Ok(None));
    assert_eq!(text(fields), r#"{"a":{"b":1}}"#);
}

#[test]
fn paths_are_names_between_dots() {
    assert_eq!(path("a.b").to_string(), "a.b");
    assert!(
        path("a").covers(&path("a.b")) && path("a").covers(&path("a")) && !path("a.b").covers(&path("a"))
    );
    for bad in ["", ".", "a.", ".a", "a..b"] {
        assert_eq!(bad.parse::<Path>(), Err(PathError::Malformed(bad.to_owned())));
    }
}
