//! Wrong versions of the rules, one at a time, for the simulation to find: one that it does not find says that the
//! simulation has gone soft, or that the rule is not needed.
//!
//! Only a build with the feature `planted` can be wrong; in any other [`is`] is the constant `false`.

use foldstream_model::{
    ReadModel,
    ports::{Condition, DocumentStore, DocumentWrite},
};

foldstream_model::planted_bugs! {
    // order, journal, cuts
    /// What comes early is released at once.
    GapSkipped,
    /// What is at or below a stream's head is released again.
    DuplicateReleased,
    /// The first event met of a stream is its first one, whatever its sequence.
    BaseFromFirstEvent,
    /// An event that has waited is released at its own place, not at that of what has released it.
    OwnPlace,
    /// Records are released beyond the horizon.
    BeyondHorizon,
    /// An entry takes effect where its decider has read up to.
    EntryAtDecidersPlace,
    /// A conflict of the journal is taken for a write.
    JournalWithoutCondition,
    /// A cut holds the heads of what was read, not of its place.
    CutAtReadPosition,
    /// A checkpoint is written without the cut that it stands on.
    CheckpointWithoutCut,

    // lineage
    /// A child is read before its parents have ended.
    ChildBeforeParents,
    /// A checkpoint is written in a child although its parents have not ended.
    ChildSavedBeforeParents,
    /// A child of two is read when one of them has ended.
    OneParentIsEnough,
    /// A child of two begins with the heads of the last one.
    LastParentsHead,
    /// A child begins without what waits in its parents.
    EarlyNotInherited,
    /// What waits in a parent goes to each of its children.
    EarlyToEveryChild,

    // read
    /// A read that fails is taken for the end of its shard.
    FailureTakenForEnd,
    /// Where the next record is kept no more, the shard has ended.
    LossTakenForEnd,
    /// A projection whose next record is kept no more goes on with the oldest one that is.
    LossSkipped,
    /// What a paused projection stands on is removed as nobody needs it.
    CleanedUnderPaused,

    // leases, fold
    /// The lease of a worker that is gone is never free.
    LeaseForEver,
    /// The state before an event is folded from all that the event store has.
    RefoldedTooFar,

    // guard
    /// A document is overwritten whatever is stored.
    NoCondition,
    /// A deleted document's guard is forgotten with it.
    RealDelete,
    /// What a guard of a higher epoch says does not count.
    EpochIgnored,
    /// Guards forget shards that are settled to their end.
    ClosedEntryDropped,
    /// A guard shrinks while its document is parked.
    ShrunkUnderMark,
    /// What comes too late for a `global` document is taken for a duplicate.
    LateTakenForDuplicate,
    /// A `global` document is written by a merge that has not read as far as its guard.
    WrittenBehindGuard,

    // lanes
    /// A write applies its first event and says that it has applied all.
    CoalescerKeepsFirst,
    /// A write that was not done, as something else was stored, is taken for done.
    ConflictTakenForSuccess,
    /// A write without an answer is taken for done.
    LostAnswerIgnored,
    /// When the first of a batch of writes was done, all were.
    PartTakenForWhole,

    // parking
    /// What is under a mark is applied like anything else.
    MarkIgnored,
    /// Events are settled before they are in the lot.
    ParkedAfterCheckpoint,
    /// Events are settled that went to a closed mark.
    ParkedUnderClosedMark,
    /// The newest of the parked events is applied first.
    NewestRedrivenFirst,
    /// A mark is taken off although events have come under it.
    UnparkedWithoutCondition,
    /// An event is recorded as discarded before its document is moved past it.
    RecordedUndecided,
    /// An event is settled that was discarded, and nothing says so.
    SettledUnrecorded,
    /// What comes behind what is parked of a `global` document is judged by what the document has.
    ReachIgnored,
    /// A redrive of a `global` document takes what is still on its way into the lot.
    RedrivenUnderWay,
    /// A redrive of a `global` document applies what was overtaken on its way into the lot.
    OvertakenRedriven,

    // streams
    /// Who begins before a stream was parked does not park it there.
    ParkedWhereSaved,
    /// Who finds that an operator has left out a fork goes on, though others may have parked its stream.
    ForkPassedUnsaid,
    /// What is left out is folded.
    LeftOutFolded,
    /// Who can decode a record takes it for an event although others have set it aside.
    SetAsideRead,

    // progress, checkpoint
    /// A checkpoint stands at what was read.
    CheckpointOnRead,
    /// A batch is settled when all of it is on its way.
    InFlightIgnored,
    /// A batch is settled when one lane has settled its part.
    OtherLaneIgnored,
    /// A row without an answer is taken for written.
    NoReadBack,
    /// A rewind leaves the generation as it is.
    RewindWithoutGeneration,
    /// Checkpoints are written over those of a higher generation.
    GenerationIgnored,
    /// Who is overtaken adds to the cuts that it has written, whoever stands on them.
    OvertakenGoesOn,
    /// A projection is handed over before all up to there is settled.
    RejoinWithoutBarrier,
}

/// Writes are done whatever was stored when they were sent.
pub async fn loosen(documents: &dyn DocumentStore, model: &ReadModel, writes: &mut [DocumentWrite]) {
    if !is(Bug::NoCondition) {
        return;
    }
    let keys: Vec<_> = writes.iter().map(|write| write.key.clone()).collect();
    let Ok(stored) = documents.read(model, &keys).await else { return };
    for (write, stored) in writes.iter_mut().zip(stored) {
        write.condition = stored.map_or(Condition::Absent, |stored| Condition::GuardIs(stored.guard));
    }
}
