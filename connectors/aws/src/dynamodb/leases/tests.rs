use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use foldstream_model::{
    ErrorKind, HashKeyRange, Lease, LeaseKey, LeftAt, Position, Shard, ShardId, SourceName, WorkerId,
    conformance,
    ports::{LeaseStore, PutLease},
};
use serde_json::Value;

use super::{DynamoLeases, kcl};
use crate::{
    dynamodb::state::{self, Item, StateTable},
    testing::{Fixture, Mishap},
};

const DUMPS: [&str; 5] = [
    include_str!("dumps/graceful-stop.json"),
    include_str!("dumps/killed.json"),
    include_str!("dumps/split.json"),
    include_str!("dumps/merge.json"),
    include_str!("dumps/two-workers.json"),
];
const TABLE: &str = "orders-application";
const OLDEST: &str = "49680431658821077325005341326145231425986336706965536770";

fn source() -> SourceName {
    SourceName::new("orders")
}

fn worker(name: &str) -> Option<WorkerId> {
    Some(WorkerId::new(name))
}

fn shard(id: &str) -> LeaseKey {
    LeaseKey::Shard(ShardId::new(id))
}

async fn open(fixture: &Fixture) -> DynamoLeases {
    let tables = BTreeMap::from([(source(), TABLE.to_owned())]);
    DynamoLeases::open(&fixture.connection, fixture.state.clone(), tables, true).await.unwrap()
}

/// The items of a dump, by key.
fn items(dump: &str) -> BTreeMap<String, Item> {
    let dump: Value = serde_json::from_str(dump).unwrap();
    let table = dump.as_object().unwrap().values().next().unwrap();
    let items = table["Items"].as_array().unwrap().iter().map(|item| {
        match attribute(&serde_json::json!({"M": item})) {
            AttributeValue::M(item) => (item[kcl::LEASE_KEY].as_s().unwrap().clone(), item),
            other => panic!("{other:?}"),
        }
    });
    items.collect()
}

fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "SS" => AttributeValue::Ss(sorted(value.as_array().unwrap().iter().map(text).collect())),
        "L" => AttributeValue::L(value.as_array().unwrap().iter().map(attribute).collect()),
        "M" => AttributeValue::M(
            value.as_object().unwrap().iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
        ),
        other => panic!("{other}"),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

async fn load(fixture: &Fixture, items: &BTreeMap<String, Item>) {
    for item in items.values() {
        let put = fixture.state.client.put_item().table_name(TABLE).set_item(Some(item.clone()));
        put.send().await.unwrap();
    }
}

async fn stored(fixture: &Fixture) -> BTreeMap<String, Item> {
    let found = fixture.state.client.scan().table_name(TABLE).send().await.unwrap();
    let items = found.items.unwrap_or_default().into_iter().map(|mut item| {
        for name in [kcl::PARENTS, kcl::CHILDREN] {
            if let Some(AttributeValue::Ss(names)) = item.get_mut(name) {
                names.sort();
            }
        }
        (item[kcl::LEASE_KEY].as_s().unwrap().clone(), item)
    });
    items.collect()
}

async fn put(leases: &DynamoLeases, expected: &Lease, lease: &Lease) {
    assert_eq!(leases.put(&source(), Some(expected), lease).await.unwrap(), PutLease::Done);
}

async fn get(leases: &DynamoLeases, id: &str) -> Lease {
    leases.get(&source(), &shard(id)).await.unwrap().unwrap()
}

#[tokio::test]
async fn they_pass_the_suite() {
    let fixture = Fixture::new().await;
    let names = ["conditions", "deletes", "one", "other", "names", "races"].map(str::to_owned);
    let names = names.into_iter().chain((0..20).map(|number| format!("history {number}")));
    let tables = names.map(|name| {
        let source = SourceName::new(format!("conformance {name}"));
        (source, format!("application.{}", name.replace(' ', "-")))
    });
    let of_kcl =
        DynamoLeases::open(&fixture.connection, fixture.state.clone(), tables.collect(), true).await.unwrap();
    conformance::lease_store::run(&of_kcl).await;
    let of_our_own =
        DynamoLeases::open(&fixture.connection, fixture.state.clone(), BTreeMap::new(), true).await.unwrap();
    conformance::lease_store::run(&of_our_own).await;
}

#[tokio::test]
async fn what_kcl_wrote_is_renewed_and_nothing_else_of_it_changes() {
    for dump in DUMPS {
        let fixture = Fixture::new().await;
        let leases = open(&fixture).await;
        let mut expected = items(dump);
        load(&fixture, &expected).await;
        let listed = leases.list(&source()).await.unwrap();
        let of_leases = expected.values().filter(|item| kcl::is_lease(item)).count();
        assert_eq!(listed.len(), of_leases, "KCL's other rows are none of ours");
        for lease in listed {
            assert_eq!(get(&leases, lease.key.to_string().trim_start_matches("shard/")).await, lease);
            put(&leases, &lease, &Lease { counter: lease.counter + 1, ..lease.clone() }).await;
        }
        for item in expected.values_mut().filter(|item| kcl::is_lease(item)) {
            let counter = state::number_of(item, kcl::LEASE_COUNTER).unwrap() + 1;
            item.insert(kcl::LEASE_COUNTER.to_owned(), state::number(counter));
        }
        assert_eq!(stored(&fixture).await, expected);
    }
}

#[tokio::test]
async fn a_lease_that_is_made_is_as_kcl_makes_it() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let kcl = items(include_str!("dumps/merge.json"));
    let shards = kcl.iter().filter(|(_, item)| kcl::is_lease(item)).map(|(id, item)| {
        let number = |name: &str| item[name].as_s().unwrap().parse().unwrap();
        let parents = item.get(kcl::PARENTS).map(|parents| parents.as_ss().unwrap().clone());
        Shard {
            id: ShardId::new(id.as_str()),
            parents: parents.unwrap_or_default().into_iter().map(ShardId::new).collect(),
            range: Some(HashKeyRange {
                first: number(kcl::FIRST_HASH_KEY),
                last: number(kcl::LAST_HASH_KEY),
            }),
        }
    });
    let shards: Vec<Shard> = shards.collect();
    leases.shards.tell(&source(), &shards);
    for Shard { id, .. } in &shards {
        let key = LeaseKey::Shard(id.clone());
        let lease = Lease { key, owner: worker("kcl-peer-1"), from: None, counter: 1, checkpoint: None };
        match leases.put(&source(), None, &lease).await.unwrap() {
            // Its parents have ended.
            PutLease::Conflict(Some(offered)) => put(&leases, &offered, &lease).await,
            answer => assert_eq!(answer, PutLease::Done),
        }
        if kcl[id.as_str()][kcl::CHECKPOINT] == state::text("SHARD_END") {
            let children: Vec<Shard> =
                shards.iter().filter(|shard| shard.parents.contains(id)).cloned().collect();
            assert_eq!(leases.hand_back(&source(), &lease, &children).await.unwrap(), PutLease::Done);
        } else {
            let position = kcl[id.as_str()][kcl::CHECKPOINT].as_s().unwrap().parse().unwrap();
            put(&leases, &lease, &Lease { checkpoint: Some(position), counter: 2, ..lease.clone() }).await;
        }
    }
    let stored = stored(&fixture).await;
    let ids: Vec<&str> = stored.keys().map(String::as_str).collect();
    let left =
        ["shardId-000000000001", "shardId-000000000002", "shardId-000000000003", "shardId-000000000004"];
    assert_eq!(ids, left, "of shards that have ended, those whose children may not have begun");
    for (id, mut item) in stored {
        let mut expected = kcl[&id].clone();
        expected.remove("throughputKBps");
        assert!(item.remove(kcl::MADE_HERE).is_some());
        for item in [&mut item, &mut expected] {
            item.remove(kcl::LEASE_COUNTER);
        }
        if expected[kcl::CHECKPOINT] == state::text("SHARD_END") {
            expected.remove(kcl::LEASE_OWNER);
        }
        assert_eq!(item, expected, "{id}");
    }
}

#[tokio::test]
async fn what_is_not_known_of_a_shard_yet_is_written_with_a_renewal() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let lease = Lease { key: shard("s-1"), owner: worker("a"), from: None, counter: 1, checkpoint: None };
    leases.put(&source(), None, &lease).await.unwrap();
    assert!(!stored(&fixture).await["s-1"].contains_key(kcl::FIRST_HASH_KEY));
    let told =
        Shard { id: ShardId::new("s-1"), parents: vec![ShardId::new("s-0")], range: Some(HashKeyRange::ALL) };
    leases.shards.tell(&source(), &[told]);
    put(&leases, &lease, &Lease { counter: 2, ..lease.clone() }).await;
    let item = &stored(&fixture).await["s-1"];
    assert_eq!(item[kcl::FIRST_HASH_KEY], state::text("0"));
    assert_eq!(item[kcl::LAST_HASH_KEY], state::text("340282366920938463463374607431768211455"));
    assert_eq!(item[kcl::PARENTS], AttributeValue::Ss(vec!["s-0".to_owned()]));
}

#[tokio::test]
async fn owners_are_counted_from_checkpoint_to_checkpoint() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let mut kept = items(include_str!("dumps/two-workers.json"));
    let item = kept.get_mut("shardId-000000000000").unwrap();
    item.insert("pendingCheckpoint".to_owned(), state::text("SHARD_END"));
    load(&fixture, &kept).await;
    let switches = || async {
        let item = stored(&fixture).await.remove("shardId-000000000000").unwrap();
        (state::number_of(&item, kcl::OWNER_SWITCHES).unwrap(), item.contains_key("pendingCheckpoint"))
    };
    let left = get(&leases, "shardId-000000000000").await;
    let taken = Lease { owner: worker("ours"), counter: left.counter + 1, ..left.clone() };
    put(&leases, &left, &taken).await;
    assert_eq!(switches().await, (1, true), "it was taken over");
    let offered =
        Lease { owner: worker("next"), from: worker("ours"), counter: taken.counter + 1, ..taken.clone() };
    put(&leases, &taken, &offered).await;
    let passed_on = Lease { from: None, counter: offered.counter + 1, ..offered.clone() };
    put(&leases, &offered, &passed_on).await;
    assert_eq!(switches().await, (1, true), "it was passed on");
    let position: Position = OLDEST.parse().unwrap();
    let further = Lease {
        checkpoint: Some(position.with_index(3)),
        counter: passed_on.counter + 1,
        ..passed_on.clone()
    };
    put(&leases, &passed_on, &further).await;
    assert_eq!(switches().await, (0, false));
    let item = stored(&fixture).await.remove("shardId-000000000000").unwrap();
    assert_eq!((&item[kcl::CHECKPOINT], &item[kcl::SUB_SEQUENCE]), (&state::text(OLDEST), &state::number(3)));
    assert!(!item.contains_key(kcl::CHECKPOINT_OWNER));
    assert_eq!(get(&leases, "shardId-000000000000").await, further);
}

#[tokio::test]
async fn who_takes_a_lease_that_is_being_passed_on_ends_that() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let offered =
        Lease { key: shard("s"), owner: worker("b"), from: worker("a"), counter: 1, checkpoint: None };
    leases.put(&source(), None, &offered).await.unwrap();
    assert_eq!(get(&leases, "s").await.holder(), offered.from.as_ref());
    let taken = Lease { owner: worker("c"), from: None, counter: 2, ..offered.clone() };
    put(&leases, &offered, &taken).await;
    let item = stored(&fixture).await.remove("s").unwrap();
    assert!(!item.contains_key(kcl::CHECKPOINT_OWNER));
    assert_eq!(item[kcl::OWNER_SWITCHES], state::number(1));
}

#[tokio::test]
async fn checkpoints_of_an_application_are_read() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let mut kept = items(include_str!("dumps/split.json"));
    for word in ["TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"] {
        // As a person wrote it: no owner, and not said to be a lease.
        kept.insert(
            word.to_owned(),
            Item::from([
                (kcl::LEASE_KEY.to_owned(), state::text(word)),
                (kcl::LEASE_COUNTER.to_owned(), state::number(0)),
                (kcl::CHECKPOINT.to_owned(), state::text(word)),
            ]),
        );
    }
    let third = kept.get_mut("shardId-000000000003").unwrap();
    third.insert(kcl::SUB_SEQUENCE.to_owned(), state::number(7));
    load(&fixture, &kept).await;
    let at = |digits: &str, index| LeftAt::Behind(digits.parse::<Position>().unwrap().with_index(index));
    let expected = [
        ("AT_TIMESTAMP", LeftAt::AtTimestamp),
        ("LATEST", LeftAt::Latest),
        ("TRIM_HORIZON", LeftAt::TrimHorizon),
        ("shardId-000000000000", LeftAt::End),
        ("shardId-000000000001", at("49680432109853648965287194351978553040037636773832032274", 0)),
        ("shardId-000000000002", at("49680432135209596256016512863662879552115897902471053346", 0)),
        ("shardId-000000000003", at("49680432135231897001215043486804415270388546263977033778", 7)),
    ];
    let expected = expected.map(|(shard, checkpoint)| (ShardId::new(shard), checkpoint));
    let found = leases.foreign(&source()).await.unwrap();
    assert!(found.iter().all(|lease| !lease.is_ours));
    let found = found.into_iter().map(|lease| (lease.shard, lease.left_at)).collect::<BTreeMap<_, _>>();
    assert_eq!(found, BTreeMap::from(expected));
    let listed = leases.list(&source()).await.unwrap();
    assert_eq!(listed.len(), 4, "those that nobody has worked under are left to the application");
    assert_eq!(get(&leases, "LATEST").await.checkpoint, None);
}

#[tokio::test]
async fn what_is_no_checkpoint_and_an_application_of_several_streams_are_refused() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    for (attribute, value, says) in
        [(kcl::CHECKPOINT, "12.5", "attribute=checkpoint"), (kcl::STREAM_NAME, "a:b:1", "several streams")]
    {
        let mut kept = items(include_str!("dumps/killed.json"));
        let item = kept.get_mut("shardId-000000000001").unwrap();
        item.insert(attribute.to_owned(), state::text(value));
        load(&fixture, &kept).await;
        let error = leases.foreign(&source()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(
            error.message().contains(says) && error.message().contains("shardId-000000000001"),
            "{error}"
        );
    }
    assert_eq!(leases.list(&source()).await.unwrap().len(), 3, "what is of another stream is left alone");
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_is_found_when_it_is_looked_for() {
    let fixture = Fixture::new().await;
    let mut leases = open(&fixture).await;
    let lease = Lease { key: shard("s"), owner: worker("a"), from: None, counter: 1, checkpoint: None };
    let renewed = Lease { counter: 2, ..lease.clone() };
    let state = leases.state.clone();
    for (expected, new) in [(None, &lease), (Some(&lease), &renewed)] {
        let client = fixture.connection.dynamodb_with(Mishap::Lost, 1);
        leases.state = StateTable { client, name: state.name.clone(), ids: fixture.ids.clone() }.into();
        let error = leases.put(&source(), expected, new).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transient);
        leases.state = state.clone();
        assert_eq!(get(&leases, "s").await, *new);
        let again = leases.put(&source(), expected, new).await.unwrap();
        assert_eq!(again, PutLease::Conflict(Some(new.clone())), "the same put again does nothing");
    }
}

#[tokio::test]
async fn a_table_of_kcl_from_before_its_index_is_taken_and_any_other_is_refused() {
    let fixture = Fixture::new().await;
    let client = fixture.connection.dynamodb();
    for (table, key, is_taken) in [("old", kcl::LEASE_KEY, true), ("other", "id", false)] {
        let definition = super::Definition {
            name: table.to_owned(),
            key: super::Key::new(key, None),
            indexes: Vec::new(),
            numbers: None,
            provision: Default::default(),
        };
        super::table::ensure(&client, &definition).await.unwrap();
        let tables = BTreeMap::from([(source(), table.to_owned())]);
        let opened = DynamoLeases::open(&fixture.connection, fixture.state.clone(), tables, true).await;
        assert_eq!(opened.err().map(|error| error.kind()), (!is_taken).then_some(ErrorKind::Invalid));
    }
    let leases = open(&fixture).await;
    let table = super::table::describe(&client, TABLE).await.unwrap().unwrap();
    super::table::check(&super::definition(TABLE), &table).unwrap();
    assert!(leases.list(&source()).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_an_application_knows_of_a_shard_stays_when_nobody_needs_its_lease() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let kept = items(include_str!("dumps/killed.json"));
    load(&fixture, &kept).await;
    let listed = leases.list(&source()).await.unwrap();
    for lease in listed.iter().filter(|lease| matches!(lease.key, LeaseKey::Shard(_))) {
        assert_eq!(leases.delete(&source(), lease).await.unwrap(), PutLease::Done);
        let id = match &lease.key {
            LeaseKey::Shard(shard) => shard.to_string(),
            other => panic!("{other}"),
        };
        let item = stored(&fixture).await.remove(&id).unwrap();
        assert_eq!(item[kcl::CHECKPOINT], kept[&id][kcl::CHECKPOINT]);
        assert!(!item.contains_key(kcl::LEASE_OWNER));
        let again = Lease { owner: worker("a"), from: None, counter: 1, ..lease.clone() };
        let PutLease::Conflict(Some(free)) = leases.put(&source(), None, &again).await.unwrap() else {
            panic!("whoever needs it again finds it free")
        };
        put(&leases, &free, &Lease { owner: worker("a"), counter: free.counter + 1, ..free.clone() }).await;
    }
    assert!(!listed.is_empty());
}

#[tokio::test]
async fn where_nothing_is_settled_what_an_application_says_stays() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    let words = ["AT_TIMESTAMP", "LATEST", "SHARD_END"];
    let row = |word: &str| {
        Item::from([
            (kcl::LEASE_KEY.to_owned(), state::text(word)),
            (kcl::LEASE_COUNTER.to_owned(), state::number(0)),
            (kcl::CHECKPOINT.to_owned(), state::text(word)),
        ])
    };
    load(&fixture, &words.map(|word| (word.to_owned(), row(word))).into()).await;
    for word in words {
        let free = get(&leases, word).await;
        let nothing = Some(Position::BEGINNING);
        let taken = Lease { owner: worker("a"), counter: 1, checkpoint: nothing, ..free.clone() };
        put(&leases, &free, &taken).await;
        assert_eq!(stored(&fixture).await[word][kcl::CHECKPOINT], state::text(word));
        let further = Lease { checkpoint: Some(Position::new(7)), counter: 2, ..taken.clone() };
        put(&leases, &taken, &further).await;
        assert_eq!(stored(&fixture).await[word][kcl::CHECKPOINT], state::text("7"));
        let back = Lease { checkpoint: Some(Position::BEGINNING), counter: 3, ..further.clone() };
        put(&leases, &further, &back).await;
        assert_eq!(stored(&fixture).await[word][kcl::CHECKPOINT], state::text("TRIM_HORIZON"), "a rewind");
    }
}

#[tokio::test]
async fn what_nobody_needs_here_is_left_at_its_checkpoint() {
    let fixture = Fixture::new().await;
    let leases = open(&fixture).await;
    load(&fixture, &items(include_str!("dumps/killed.json"))).await;
    let (ours, theirs) = ("s-new", "shardId-000000000001");
    let lease = Lease { key: shard(ours), owner: worker("a"), from: None, counter: 1, checkpoint: None };
    assert_eq!(leases.put(&source(), None, &lease).await.unwrap(), PutLease::Done);
    for id in [ours, theirs] {
        let before = get(&leases, id).await;
        let stale = Lease { counter: before.counter + 7, ..before.clone() };
        let refused = leases.hand_back(&source(), &stale, &[]).await.unwrap();
        assert_eq!(refused, PutLease::Conflict(Some(before.clone())));
        assert_eq!(leases.hand_back(&source(), &before, &[]).await.unwrap(), PutLease::Done);
        let left = get(&leases, id).await;
        assert_eq!((left.holder(), &left.checkpoint), (None, &before.checkpoint));
    }
    let left: Vec<LeaseKey> =
        leases.list(&source()).await.unwrap().into_iter().map(|lease| lease.key).collect();
    assert!(!left.contains(&shard(ours)) && !left.contains(&shard(theirs)), "{left:?}");
    let found = leases.foreign(&source()).await.unwrap();
    let is_ours = |id: &str| found.iter().find(|lease| lease.shard.as_str() == id).unwrap().is_ours;
    assert!(is_ours(ours) && !is_ours(theirs));
}
