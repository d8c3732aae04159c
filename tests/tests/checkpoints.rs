//! A checkpoint that several workers write.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldstream_model::{
    Control, CutId, Epoch, Fingerprint, Generation, Ordering, Place, Position, ProjectionId, ShardId,
    SourceName, Stop, Timestamp,
};
use foldstream_runtime::{
    checkpoint::{CheckpointHandle, Claim},
    rows::Rows,
};
use foldstream_tests::memory::MemoryCheckpoints;

fn claim(cut: Option<u128>, stop: Option<u128>) -> Claim {
    let at = Timestamp::EPOCH;
    let place = |position| Place::end(Position::new(position), 0);
    Claim {
        cut: cut.map(|position| CutId { chain: "chain".into(), place: place(position) }),
        ended: false,
        settled_until: None,
        stop: stop.map(|position| Stop { place: place(position), event: None, reason: "why".into(), at }),
        at,
    }
}

#[tokio::test]
async fn a_worker_that_wakes_late_does_not_stop_a_projection_that_others_have_brought_further() {
    let rows = Rows::new(Arc::new(MemoryCheckpoints::default()));
    let (id, source, shard) = (ProjectionId::new("p", 1), SourceName::new("events"), ShardId::new("shard"));
    let control = Control {
        source: SourceName::new("events"),
        ordering: Ordering::PerStream,
        definition: String::new(),
        fingerprint: Fingerprint(String::new()),
        store: String::new(),
        generation: Generation(0),
        epoch: Epoch(0),
        paused: false,
        starts: BTreeMap::new(),
        ended: BTreeSet::new(),
        registered_at: Timestamp::EPOCH,
    };
    let read = async || CheckpointHandle::read(&rows, &id, &source, &shard, &control).await.unwrap();
    let stored = async || rows.checkpoint(&id, &source, &shard).await.unwrap().unwrap().body;
    read().await.commit(claim(Some(5), None)).await.unwrap();
    let (asleep, awake) = (read().await, read().await);
    awake.commit(claim(Some(20), None)).await.unwrap();
    let before = stored().await;
    asleep.commit(claim(None, Some(10))).await.unwrap();
    assert_eq!(stored().await, before);
    awake.commit(claim(None, Some(21))).await.unwrap();
    assert_eq!(stored().await.stop.unwrap().place.position, Position::new(21));
    assert_eq!(stored().await.cut, before.cut);
}
