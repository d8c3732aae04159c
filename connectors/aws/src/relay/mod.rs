//! Moves the changes of a table from its stream into a Kinesis stream, in order for each aggregate.
//!
//! What arrives, as a reader sees it that drops what it has seen by sequence: every change, in order. Why that holds
//! whatever fails and however many relays believe that a shard is theirs:
//!
//! - A relay sends the next record of an aggregate only when the one before it has been acknowledged ([`window`]). It
//!   begins behind a checkpoint, up to which everything has been acknowledged, and a shard only when its parent's row says
//!   that everything in it has been. So whenever a record is sent, all that come before it are in the stream, whoever put
//!   them there.
//! - A record that is sent twice, since an answer was lost or by a relay that does not know yet that it has lost its shard,
//!   comes again, perhaps behind later ones of its aggregate: what has come *first* is in order still. A zombie repeats; it
//!   never puts anything in front of what must come before it. The reader's order stage drops repetitions by sequence.
//!
//! So leases only save work, and no safety rests on clocks. Kinesis gives a record that is put after another one was
//! acknowledged a higher number, in one shard; a key that moves to a child of a shard that was split finds its earlier
//! records in the parent.

mod route;
mod window;

pub use route::Route;
