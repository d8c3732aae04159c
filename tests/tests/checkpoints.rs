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
        waits_from: None,
        ended: false,
        settled_until: None,
        stop: stop.map(|position| Stop { place: place(position), event: None, reason: "why".into(), at }),
        at,
    }
}

fn of(chain: &str, claim: Claim) -> Claim {
    Claim { cut: claim.cut.map(|cut| CutId { chain: chain.into(), ..cut }), ..claim }
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
    assert_eq!(bed.stored().await.place().position, Position::new(30));
}

/// Its cut of that place may add to what was removed, and another projection of its line may come to that place later.
#[tokio::test]
async fn who_finds_that_others_have_come_as_far_or_further_is_overtaken_all_the_same() {
    for behind in [20, 15] {
        let bed = Bed::new();
        bed.read().await.commit(of("first", claim(Some(5), None))).await.unwrap();
        let (awake, asleep) = (bed.read().await, bed.read().await);
        awake.commit(of("awake", claim(Some(20), None))).await.unwrap();
        let claim = of("asleep", claim(Some(behind), None));
        let overtaken = asleep.commit(claim.clone()).await.unwrap();
        assert_eq!(overtaken, Committed::Overtaken);
        assert_eq!(bed.stored().await.cut.unwrap().chain, "awake");
        assert_eq!(asleep.commit(claim).await.unwrap(), Committed::Stands, "it has heard of that by now");
    }
}

/// The answer to a write may be lost; the next try finds that the checkpoint has moved.
#[tokio::test]
async fn nobody_is_overtaken_by_his_own_claim() {
    let bed = Bed::new();
    let (first_try, next_try) = (bed.read().await, bed.read().await);
    first_try.commit(claim(Some(20), None)).await.unwrap();
    assert_eq!(next_try.commit(claim(Some(20), None)).await.unwrap(), Committed::Stands);
}

/// Another reader's cut of the same place is one on which nobody stands, so that it may be removed.
#[tokio::test]
async fn a_checkpoint_that_does_not_move_keeps_its_cut() {
    let bed = Bed::new();
    let (first, other) = (bed.read().await, bed.read().await);
    first.commit(of("first", claim(Some(20), None))).await.unwrap();
    assert_eq!(other.commit(of("other", claim(Some(20), None))).await.unwrap(), Committed::Overtaken);
    other.commit(of("other", claim(Some(20), Some(21)))).await.unwrap();
    assert_eq!(bed.stored().await.stop.unwrap().place.position, Position::new(21));
    assert_eq!(bed.stored().await.cut.unwrap().chain, "first");
}
