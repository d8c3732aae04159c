use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use super::*;

/// Actions that no operation is called like: what a transaction needs, by its parts.
const OF_TRANSACTIONS: [(&str, &[&str]); 2] = [
    ("dynamodb:TransactGetItems", &["dynamodb:GetItem"]),
    (
        "dynamodb:TransactWriteItems",
        &["dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
    ),
];

/// What the code of a folder calls on its client, as actions.
fn called(folder: &Path, service: &str, actions: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            called(&path, service, actions);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            let code = fs::read_to_string(&path).unwrap();
            let calls =
                code.split("client").skip(1).filter_map(|behind| behind.trim_start().strip_prefix('.'));
            let names = calls.filter_map(|call| call.split_once("()")).map(|(name, _)| name);
            let operations = names.filter(|name| name.chars().all(|c| c == '_' || c.is_ascii_lowercase()));
            actions.extend(operations.map(|name| format!("{service}:{}", in_camel_case(name))));
        }
    }
}

fn in_camel_case(name: &str) -> String {
    let words = name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

fn location() -> Location {
    Location { partition: "aws".into(), region: "eu-west-1".into(), account: "123456789012".into() }
}

fn document_table(name: &str, create: bool) -> DocumentTable {
    let provision = Provision {
        tags: [("team".to_owned(), "shop".to_owned())].into(),
        point_in_time_recovery: true,
        deletion_protection: true,
        purge_deleted_after: Some(Duration::from_secs(86_400)),
    };
    DocumentTable { name: name.to_owned(), create, provision }
}

fn named() -> Named {
    let arn = "arn:aws:kinesis:eu-west-1:999999999999:stream/theirs";
    Named {
        streams: vec![
            ("shop".into(), Reading::Polling),
            ("fast".into(), Reading::FanOut { consumer: "foldstream".into() }),
            (arn.into(), Reading::FanOut { consumer: format!("{arn}/consumer/ours:17") }),
        ],
        state_table: Some("foldstream".into()),
        lease_tables: vec!["foldstream-shop".into()],
        document_tables: vec![document_table("orders-v1", true), document_table("given-v1", false)],
        event_tables: vec![("events".into(), Some("all".into()))],
        tables_with_streams: vec!["events".into()],
        relayed: vec![("shop".into(), "events".into())],
    }
}

#[test]
fn what_is_allowed_is_what_the_code_calls_and_nothing_else() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut calls = BTreeSet::new();
    for (folder, service) in [
        ("kinesis", "kinesis"),
        ("dynamodb", "dynamodb"),
        ("events", "dynamodb"),
        ("streams", "dynamodb"),
        ("relay", "kinesis"),
    ] {
        called(&root.join(folder), service, &mut calls);
    }
    calls.extend(TAG.iter().map(|action| (*action).to_owned()));
    for (transaction, parts) in OF_TRANSACTIONS {
        assert!(calls.remove(transaction), "nothing calls {transaction}");
        calls.extend(parts.iter().map(|part| (*part).to_owned()));
    }
    let (run, operate) = (named().to_run(&location()), named().to_operate(&location()));
    let permissions = [run, operate, named().to_relay(&location())].concat();
    let actions: BTreeSet<String> = permissions
        .iter()
        .flat_map(|permission| permission.actions)
        .map(|action| (*action).to_owned())
        .collect();
    assert_eq!(actions, calls);
}

#[test]
fn a_thing_is_named_by_its_arn_and_only_where_it_is_used() {
    let permissions = named().to_run(&location());
    let resources = |id: &str| {
        let found = permissions.iter().find(|permission| permission.id == id);
        found.map(|permission| permission.resources.clone()).unwrap_or_default()
    };
    assert_eq!(resources("KeepState"), ["arn:aws:dynamodb:eu-west-1:123456789012:table/foldstream"]);
    let fast = "arn:aws:kinesis:eu-west-1:123456789012:stream/fast";
    assert_eq!(
        resources("SubscribeAsOwnConsumer"),
        [fast.to_owned(), format!("{fast}/consumer/foldstream:*")]
    );
    assert_eq!(resources("ReadStreams").len(), 3);
    let events = "arn:aws:dynamodb:eu-west-1:123456789012:table/events";
    assert_eq!(resources("ReadEvents"), [events.to_owned(), format!("{events}/index/all")]);
    for id in ["MakeTables", "SwitchBackupsOn", "TagTables", "SwitchPurgesOn"] {
        assert!(resources(id).iter().all(|table| !table.contains("given")), "{id}");
        assert!(resources(id).iter().any(|table| table.ends_with("table/orders-v1")), "{id}");
    }
    assert_eq!((resources("SeeBackups").len(), resources("SeeTags").len()), (2, 2));
    let nothing = Named::default();
    assert!(nothing.to_run(&location()).is_empty() && nothing.to_operate(&location()).is_empty());
}
