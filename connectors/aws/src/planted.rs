//! Wrong versions of the rules, one at a time, for the simulation to find: one that it does not find says that the
//! simulation has gone soft, or that the rule is not needed.
//!
//! Only a build with the feature `planted` can be wrong; in any other [`is`] is the constant `false`.

foldstream_model::planted_bugs! {
    // kinesis
    /// Where an iterator has expired, reading goes on behind the newest record.
    ExpiredIteratorToLatest,
    /// Where a subscription is over, the next one begins behind the newest record.
    ContinuationIgnored,
    /// Whoever goes on inside an aggregated record goes on behind it.
    SubSequenceIgnored,
    /// Sequence numbers are compared as texts.
    SequencesAsText,
    /// An answer without records is one at the tip.
    EmptyTakenForTip,
    /// A closed shard has ended with the first answer that has children in it, or no records.
    ClosedTakenForEnd,

    // dynamodb
    /// What of a batch of keys was not processed is not there.
    UnprocessedKeysDropped,
    /// What of a batch of deletions was not processed is deleted.
    UnprocessedItemsDropped,
    /// What did not fit into the first page is not there.
    FirstPageTakenForAll,
    /// A transaction that met another one is done.
    CancelledTakenForDone,
    /// An item that was refused by its condition was put.
    RefusedTakenForPut,
}
