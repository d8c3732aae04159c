use super::Folder;

const VALID: &str = "config_version: 1
sources:
  shop: { kind: local }
projections:
  totals:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - { event: Placed, key: all, add: { placed: 1 } }
";

#[test]
fn a_file_without_mistakes_is_said_to_be_valid() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", VALID);
    assert_eq!(folder.run(&["validate"]).ok(), "foldstream.yaml: valid: 1 source, 1 projection, 0 tests\n");
}

#[test]
fn every_mistake_is_shown_with_its_line_and_what_to_do() {
    let folder = Folder::new();
    let text = VALID
        .replace("commutative", "comutative")
        .replace("version: 1\n    source", "versoin: 1\n    source");
    folder.write("other.yaml", text);
    let ran = folder.run(&["validate", "-c", "other.yaml"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    for said in ["other.yaml:8:", "did you mean `commutative`?", "other.yaml:6:", "version", "^"] {
        assert!(ran.out.contains(said), "{said}: {}", ran.out);
    }
    let objects = folder.run(&["validate", "-c", "other.yaml", "-o", "json"]).out;
    for line in objects.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(object["line"].is_u64() && object["message"].is_string(), "{line}");
    }
    assert!(objects.lines().count() >= 2, "{objects}");
}

#[test]
fn what_this_version_has_not_is_said_so() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", VALID.replace("{ kind: local }", "{ kind: kafka }"));
    let ran = folder.run(&["validate"]);
    assert!(ran.code == 2 && ran.out.contains("not available in this version"), "{ran:?}");
}

#[test]
fn a_test_that_gives_an_event_of_an_unknown_type_is_warned_of_with_the_nearest_one() {
    let folder = Folder::new();
    let given =
        "tests:\n  - { name: t, given: [{ stream_id: a, type: Plased }], expect: { totals/all: null } }\n";
    let text = VALID.replace("{ kind: local }", "{ types: [Placed, Paid] }") + given;
    folder.write("foldstream.yaml", text);
    let said = folder.run(&["validate"]).ok();
    assert!(said.contains("warning: the source has no event type `Plased`"), "{said}");
    assert!(said.contains("tests[0].given[0].type") && said.contains("did you mean `Placed`?"), "{said}");
}

#[test]
fn a_native_projector_that_is_not_there_gets_the_nearest_name() {
    let folder = Folder::new();
    let handlers = "    handlers:\n      - { event: Placed, key: all, add: { placed: 1 } }\n";
    folder.write("foldstream.yaml", VALID.replace(handlers, "    projector: { native: chrun }\n"));
    let ran = folder.run(&["validate"]);
    assert!(ran.code == 2 && ran.out.contains("did you mean `churn`?"), "{ran:?}");
}

#[test]
fn a_file_that_is_not_there_is_answered_with_how_to_get_one() {
    let error = Folder::new().run(&["validate"]).fails(2);
    assert!(error.contains("foldstream init"), "{error}");
}

#[test]
fn what_is_embedded_needs_no_service() {
    let folder = Folder::new();
    folder.write("foldstream.yaml", VALID);
    let said = folder.run(&["validate", "--online"]).ok();
    assert!(said.ends_with("no service to ask: everything is embedded\n"), "{said}");
    let error = folder.run(&["validate", "--online", "--relay"]).fails(2);
    assert!(error.contains("nothing to relay") && error.contains("event_table"), "{error}");
    folder.run(&["validate", "--relay"]).fails(2);
    let policy = folder.run(&["config", "policy"]).ok();
    assert!(policy.contains("\"Statement\": []"), "{policy}");
}
