//! Rewinds over shards that were split and merged.
#![expect(clippy::unwrap_used, reason = "a test ends where what it needs is not there")]

use std::collections::BTreeMap;

use foldstream_model::{
    Clock, ErrorKind, Ordering, Position, ShardId, Timestamp,
    ports::{From, Source},
};
use foldstream_runtime::{assembly::ProjectionSpec, control::RewindTo, rows::Rows};
use foldstream_tests::{bed::Bed, projectors::Kind};

const STREAMS: usize = 8;

fn projections(bed: &Bed) -> Vec<ProjectionSpec> {
    vec![
        bed.projection("collect", Ordering::PerStream, Kind::Collect),
        bed.projection("sum", Ordering::Commutative, Kind::Sum),
        bed.projection("feed", Ordering::Global, Kind::Feed),
    ]
}

async fn append(bed: &Bed) {
    for stream in 0..STREAMS {
        bed.append(&format!("s-{stream}"), &[1, 1]).await;
    }
    bed.relay().await;
}

async fn catch_up(bed: &Bed) {
    let outcome = bed.catch_up(projections(bed)).await.unwrap();
    assert!(outcome.caught_up && outcome.stops.is_empty(), "{outcome:?}");
}

/// Every stream has this many events in the documents, each once and in order.
async fn complete(bed: &Bed, of_stream: usize) {
    let sequences: Vec<String> = (1..=of_stream).map(|sequence| sequence.to_string()).collect();
    let collected = bed.documents("collect").await;
    assert_eq!(collected.len(), STREAMS);
    for (stream, document) in collected {
        assert_eq!(document, format!("{{\"sequences\":[{}]}}", sequences.join(",")), "{stream}");
    }
    let feed = bed.documents("feed").await;
    let length: usize = feed.values().map(|document| document.matches('#').count()).sum();
    assert_eq!(length, STREAMS * of_stream, "{feed:?}");
    let counted = |document: &String| -> usize {
        let events = document.trim_start_matches("{\"events\":").split(',').next().unwrap();
        events.parse().unwrap()
    };
    let sums = bed.documents("sum").await;
    assert_eq!(sums.values().map(counted).sum::<usize>(), STREAMS * of_stream, "{sums:?}");
}

/// A shard that splits, and its children merge again; events in all of them.
async fn diamond() -> (Bed, Vec<ShardId>) {
    let bed = Bed::new(1).await;
    let root = bed.log.describe().await.unwrap().shards[0].id.clone();
    append(&bed).await;
    catch_up(&bed).await;
    let children = bed.log.split(&root, u128::MAX / 2).await.unwrap();
    append(&bed).await;
    catch_up(&bed).await;
    append(&bed).await;
    catch_up(&bed).await;
    let last = bed.log.merge(&children[0], &children[1]).await.unwrap();
    append(&bed).await;
    catch_up(&bed).await;
    complete(&bed, 8).await;
    (bed, vec![root, children[0].clone(), children[1].clone(), last])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_to_any_places_of_parents_and_children_leaves_no_shard_waiting() {
    let (bed, shards) = diamond().await;
    let mut last = BTreeMap::new();
    for shard in bed.log.describe().await.unwrap().shards {
        last.insert(shard.id, shard.last.as_u64().unwrap());
    }
    for (round, named) in (1usize..16).enumerate() {
        // The bits say which shards are named: each somewhere in its second half, or at its end.
        let of = shards.iter().enumerate().filter(|(bit, _)| named >> bit & 1 == 1);
        let place = |bit: usize, shard: &ShardId| {
            let behind = if (round + bit).is_multiple_of(2) { 0 } else { last[shard] / 2 };
            Position::new(u128::from(last[shard] - behind))
        };
        let to = RewindTo::Positions(of.map(|(bit, shard)| (shard.clone(), place(bit, shard))).collect());
        for name in ["collect", "sum", "feed"] {
            bed.rewind(name, &to, false).await.unwrap();
        }
        append(&bed).await;
        catch_up(&bed).await;
        complete(&bed, 8 + 2 * (round + 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rewind_does_not_reach_is_not_read_again() {
    let (bed, shards) = diamond().await;
    let ends = bed.log.describe().await.unwrap().shards;
    let mut to: BTreeMap<ShardId, Position> = ends.into_iter().map(|shard| (shard.id, shard.last)).collect();
    bed.counted.forget();
    to.insert(shards[3].clone(), Position::BEGINNING);
    let plan = bed.rewind("collect", &RewindTo::Positions(to), false).await.unwrap();
    assert_eq!(plan.ended, shards[..3].iter().cloned().collect());
    bed.catch_up(vec![bed.projection("collect", Ordering::PerStream, Kind::Collect)]).await.unwrap();
    assert_eq!(bed.counted.most(), (1, 2 * STREAMS), "the last shard alone");
    complete(&bed, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewind_leaves_out_nothing_of_a_rebuild_that_has_not_come_so_far() {
    let (bed, shards) = diamond().await;
    for name in ["collect", "sum", "feed"] {
        bed.rewind(name, &RewindTo::Beginning, true).await.unwrap();
    }
    let ends = bed.log.describe().await.unwrap().shards.into_iter();
    let to = RewindTo::Positions(ends.map(|shard| (shard.id, shard.last)).collect());
    for name in ["collect", "sum", "feed"] {
        let plan = bed.rewind(name, &to, false).await.unwrap();
        assert!(plan.starts.is_empty(), "{plan:?}");
    }
    catch_up(&bed).await;
    complete(&bed, 8).await;
    assert_eq!(shards.len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_holds_for_no_later_generation() {
    let (bed, _) = diamond().await;
    let controls = foldstream_runtime::control::Controls::new(Rows::new(bed.store.checkpoints()));
    let id = foldstream_model::ProjectionId::new("collect", 1);
    let plan = controls.plan_rewind(&id, &*bed.log.source(), &RewindTo::Beginning).await.unwrap();
    bed.rewind("collect", &RewindTo::Beginning, true).await.unwrap();
    let actor =
        foldstream_runtime::control::Actor { who: "tester".into(), reason: None, at: bed.clock.now() };
    let refused = controls.rewind(&id, &plan, false, &actor).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.message().contains("rewound by another meanwhile"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_keeps_no_more_is_left_as_it_is_or_the_rewind_refused() {
    let bed = Bed::new(1).await;
    let root = bed.log.describe().await.unwrap().shards[0].id.clone();
    append(&bed).await;
    catch_up(&bed).await;
    bed.log.split(&root, u128::MAX / 2).await.unwrap();
    catch_up(&bed).await;
    let early = bed.clock.now();
    append(&bed).await;
    catch_up(&bed).await;
    let late = bed.clock.now();
    append(&bed).await;
    bed.trim_before(early).await;
    catch_up(&bed).await;
    let refused = bed.rewind("collect", &RewindTo::Beginning, true).await.unwrap_err();
    assert!(refused.message().contains(&format!("shard={root} cannot be read again")), "{refused}");
    let refused = bed.rewind("collect", &since(&bed, early).await, false).await.unwrap_err();
    assert!(refused.message().contains(&format!("what its parent={root} had ended with")), "{refused}");
    let plan = bed.rewind("collect", &since(&bed, late).await, false).await.unwrap();
    assert!(plan.ended.contains(&root) && plan.to_beginning.is_empty(), "{plan:?}");
    append(&bed).await;
    catch_up(&bed).await;
    complete(&bed, 8).await;
}

/// The positions in the shards that are listed.
async fn since(bed: &Bed, time: Timestamp) -> RewindTo {
    let (source, mut positions) = (bed.log.source(), BTreeMap::new());
    for shard in source.shards().await.unwrap() {
        let reader = source.open(&shard.id, From::AtTimestamp(time)).await.unwrap();
        positions.insert(shard.id, reader.position());
    }
    RewindTo::Positions(positions)
}
