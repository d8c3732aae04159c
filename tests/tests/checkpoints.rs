//! A checkpoint that several workers write.

#![expect(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldstream_model::{
    Checkpoint, Control, CutId, Epoch, ErrorKind, Fingerprint, Generation, Ordering, Place, Position,
    ProjectionId, ShardId, SourceName, Stop, Timestamp,
};
use foldstream_runtime::{
    checkpoint::{CheckpointHandle, Claim, Committed},
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

fn control() -> Control {
    Control {
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
        gone: BTreeSet::new(),
        registered_at: Timestamp::EPOCH,
    }
}

/// The checkpoint of one projection in one shard.
struct Bed {
    rows: Rows,
    id: ProjectionId,
    source: SourceName,
    shard: ShardId,
}

impl Bed {
    fn new() -> Self {
        let rows = Rows::new(Arc::new(MemoryCheckpoints::default()));
        let (id, source, shard) =
            (ProjectionId::new("p", 1), SourceName::new("events"), ShardId::new("shard"));
        Self { rows, id, source, shard }
    }

    async fn read(&self) -> Arc<CheckpointHandle> {
        self.read_of(Generation(0)).await
    }

    async fn read_of(&self, generation: Generation) -> Arc<CheckpointHandle> {
        let control = Control { generation, ..control() };
        CheckpointHandle::read(&self.rows, &self.id, &self.source, &self.shard, &control).await.unwrap()
    }

    async fn stored(&self) -> Checkpoint {
        self.rows.checkpoint(&self.id, &self.source, &self.shard).await.unwrap().unwrap().body
    }
}

#[tokio::test]
async fn a_worker_that_wakes_late_does_not_stop_a_projection_that_others_have_brought_further() {
    let bed = Bed::new();
    bed.read().await.commit(claim(Some(5), None)).await.unwrap();
    let (asleep, awake) = (bed.read().await, bed.read().await);
    awake.commit(claim(Some(20), None)).await.unwrap();
    let before = bed.stored().await;
    asleep.commit(claim(None, Some(10))).await.unwrap();
    assert_eq!(bed.stored().await, before);
    awake.commit(claim(None, Some(21))).await.unwrap();
    assert_eq!(bed.stored().await.stop.unwrap().place.position, Position::new(21));
    assert_eq!(bed.stored().await.cut, before.cut);
}

/// It was on its way while the projection was rewound, and began again before that place.
#[tokio::test]
async fn a_checkpoint_of_before_a_rewind_is_refused() {
    let bed = Bed::new();
    let asleep = bed.read().await;
    asleep.commit(claim(Some(100), None)).await.unwrap();
    bed.read_of(Generation(1)).await.commit(claim(Some(50), None)).await.unwrap();
    let late = asleep.commit(claim(Some(110), None)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Fenced);
    assert_eq!(bed.stored().await.place().position, Position::new(50));
}

/// What a sleeping worker's next cut adds to is what the checkpoint stood on when it fell asleep. Once others have moved that,
/// nobody stands there any more, and it may be removed.
#[tokio::test]
async fn a_cut_that_adds_to_one_on_which_nobody_stands_any_more_is_not_claimed() {
    let bed = Bed::new();
    bed.read().await.commit(claim(Some(5), None)).await.unwrap();
    let (asleep, awake) = (bed.read().await, bed.read().await);
    awake.commit(claim(Some(20), None)).await.unwrap();
    assert_eq!(asleep.commit(claim(Some(30), None)).await.unwrap(), Committed::Overtaken);
    assert_eq!(bed.stored().await.place().position, Position::new(20));
    assert_eq!(asleep.checkpoint().place().position, Position::new(20), "the next cut is taken by this");
    assert_eq!(asleep.commit(claim(Some(30), None)).await.unwrap(), Committed::Stands);
    assert_eq!(awake.commit(claim(Some(25), None)).await.unwrap(), Committed::Stands, "more is stored");
    assert_eq!(bed.stored().await.place().position, Position::new(30));
}

/// Another reader's cut of the same place is one on which nobody stands, so that it may be removed.
#[tokio::test]
async fn a_checkpoint_that_does_not_move_keeps_its_cut() {
    let bed = Bed::new();
    let (first, other) = (bed.read().await, bed.read().await);
    let of = |chain: &str, claim: Claim| Claim {
        cut: claim.cut.map(|cut| CutId { chain: chain.into(), ..cut }),
        ..claim
    };
    first.commit(of("first", claim(Some(20), None))).await.unwrap();
    assert_eq!(other.commit(of("other", claim(Some(20), None))).await.unwrap(), Committed::Stands);
    other.commit(of("other", claim(Some(20), Some(21)))).await.unwrap();
    assert_eq!(bed.stored().await.stop.unwrap().place.position, Position::new(21));
    assert_eq!(bed.stored().await.cut.unwrap().chain, "first");
}
