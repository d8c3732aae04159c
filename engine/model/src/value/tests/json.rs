use std::sync::Arc;

use proptest::prelude::*;

use super::{json, names, values};
use crate::value::{FieldMask, MAX_DEPTH, Path, Value};

fn masks() -> impl Strategy<Value = FieldMask> {
    prop::collection::vec(prop::collection::vec(names(), 1..4), 0..5).prop_map(|paths| {
        let mut mask = FieldMask::NONE;
        for names in paths {
            mask.insert(&Path::new(names).unwrap());
        }
        mask
    })
}

fn error(text: &[u8]) -> String {
    Value::parse(text).unwrap_err().to_string()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_comes_back_from_its_canonical_text(value in values()) {
        let text = value.to_canonical_json();
        let parsed = Value::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(parsed.to_canonical_json(), text.clone());
        prop_assert_eq!(&parsed, &value);
        let through_serde: Value = serde_json::from_str(&serde_json::to_string_pretty(&value).unwrap()).unwrap();
        prop_assert_eq!(through_serde, value);
    }

    #[test]
    fn a_masked_parse_is_a_full_parse_pruned(value in values(), mask in masks()) {
        let text = value.to_canonical_json();
        prop_assert_eq!(Value::parse_masked(text.as_bytes(), &mask).unwrap(), mask.pruned(&value));
    }

    #[test]
    fn a_union_keeps_what_either_keeps(left in masks(), right in masks(), value in values()) {
        let union = left.union(&right);
        prop_assert_eq!(&union, &right.union(&left));
        prop_assert_eq!(left.pruned(&union.pruned(&value)), left.pruned(&value));
        prop_assert_eq!(right.pruned(&union.pruned(&value)), right.pruned(&value));
        prop_assert!(left.union(&FieldMask::ALL).is_all());
    }

    #[test]
    fn what_serde_json_refuses_is_refused(text in "[\\[\\]{}\",:0-9.eE+\\-tfn\\\\u a-f]{0,12}") {
        let ours = Value::parse(text.as_bytes());
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            prop_assert!(ours.is_err(), "{text:?}: {error}");
        }
        prop_assert!(Value::parse_masked(text.as_bytes(), &FieldMask::NONE).is_ok() || ours.is_err());
    }
}

#[test]
fn digits_are_kept() {
    let text = r#"{"a":12345678901234567890123456789012345678,"b":0.1,"c":-4.5}"#;
    assert_eq!(json(text).to_canonical_json(), text);
    assert_eq!(json(r#"{"b":1.50, "a" : 1E2 }"#).to_canonical_json(), r#"{"a":100,"b":1.5}"#);
}

#[test]
fn bad_text_is_refused_with_its_place() {
    assert_eq!(error(b"{\"a\":1,\n \"a\":2}"), "the name \"a\" twice in one object at line 2, column 8");
    assert_eq!(error(b"\"\xff\""), "text that is not UTF-8 at line 1, column 2");
    assert!(error(b"{} {}").contains("line 1, column 4"), "{}", error(b"{} {}"));
    assert!(error(b"").contains("line 1"), "{}", error(b""));
    for text in
        ["{\"a\":}", "[1,]", "nul", "01", "NaN", "-Infinity", "\"\\ud800\"", "\"\n\"", "{a:1}", "[1e2000]"]
    {
        assert!(Value::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn escaped_names_meet_the_mask_and_broken_objects_are_refused() {
    let mut mask = FieldMask::NONE;
    mask.insert(&"a.b".parse().unwrap());
    let parsed = |text: &str| Value::parse_masked(text.as_bytes(), &mask);
    let text = r#" { "x\"}" : ["]\\", {}] , "\u0061" : {"c":{"d":1e5},"b":"\n"} } "#;
    assert_eq!(parsed(text).unwrap().to_canonical_json(), r#"{"a":{"b":"\n"}}"#);
    let broken =
        ["{", "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1,}", "{a:1}", "{} {}", "{\"a\":\"x"];
    for text in broken.into_iter().chain(["{\"a\":{\"b\":01}}", "{\"a\":{\"b\":1]}", "{\"a\":[1,]}"]) {
        assert!(parsed(text).is_err(), "{text}");
    }
    let twice = parsed("{\"a\":1,\n \"a\":2}").unwrap_err();
    assert_eq!(twice.to_string(), "the name \"a\" twice in one object at line 2, column 8");
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let deepest = json(&nested(MAX_DEPTH));
    assert!(deepest.is_within_depth(MAX_DEPTH) && !deepest.is_within_depth(MAX_DEPTH - 1));
    assert!(error(nested(200).as_bytes()).starts_with("lists and objects nested more than 128 deep"));
    assert!(
        error("{\"a\":".repeat(200).as_bytes()).starts_with("lists and objects nested more than 128 deep")
    );
    let endless = format!("{{\"a\":{}}}", "[".repeat(1_000_000));
    assert!(Value::parse_masked(endless.as_bytes(), &FieldMask::NONE).is_err());
    let mut mask = FieldMask::NONE;
    mask.insert(&"a".parse().unwrap());
    let kept = |depth: usize| Value::parse_masked(format!("{{\"a\":{}}}", nested(depth)).as_bytes(), &mask);
    assert!(kept(127).is_ok() && kept(128).is_err());
}

#[test]
fn masked_objects_share_the_names_of_the_mask() {
    let name: Arc<str> = Arc::from("a");
    let mut mask = FieldMask::NONE;
    mask.insert(&Path::new([Arc::clone(&name)]).unwrap());
    let value = Value::parse_masked(br#"{"b":[{}],"a":{"c":1}}"#, &mask).unwrap();
    assert_eq!(value.to_canonical_json(), r#"{"a":{"c":1}}"#);
    assert_eq!(Arc::strong_count(&name), 3);
}
