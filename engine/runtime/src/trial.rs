//! trial: which call into users' code ends the process.
//!
//! Who takes over from a worker that ended without leaving *tries* for a while what it hands to decoders, reducers and
//! projectors: the calls that are about to be made are named by a durable mark, many together. What a mark names when its
//! process ends is suspect, and is tried alone from then on. A call that was made alone when one process after the other ended
//! is not made any more: its event is poison.

#[cfg(test)]
mod tests;

use std::{error::Error as StdError, fmt};

use foldstream_model::{
    DocumentKey, Error, OnFailure, Ordering, Position, ProjectionId, Sequence, ShardId, SourceName, StreamId,
};
use serde::{Deserialize, Serialize};

/// Calls that one mark names at most.
pub const TOGETHER: usize = 256;
/// So many processes in a row that end with a call alone in hand are no chance.
const TOO_MANY: u32 = 3;
/// Suspects that are remembered; more come together only where it is none of them.
const MOST_SUSPECTS: usize = 4 * TOGETHER;

/// A call into users' code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub enum Attempt {
    /// A record is decoded, and its event lifted.
    Decode { source: SourceName, shard: ShardId, position: Position },
    /// An event is folded into the state of its stream.
    Fold { source: SourceName, reducer: String, stream: StreamId, sequence: Sequence },
    /// A projector says which documents an event touches.
    Touch { projection: ProjectionId, stream: StreamId, sequence: Sequence },
    /// A document is changed, by this event and by those that follow it.
    Change { projection: ProjectionId, document: DocumentKey, stream: StreamId, sequence: Sequence },
}

impl Attempt {
    /// A document that was changed by several events is suspect as such.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Change { projection, document, .. },
                Self::Change { projection: of, document: other, .. },
            ) => (projection, document) == (of, other),
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode { shard, position, .. } => {
                write!(f, "decoding the record at shard={shard} position={position}")
            }
            Self::Fold { reducer, stream, sequence, .. } => {
                write!(f, "folding stream={stream} sequence={sequence} by reducer={reducer}")
            }
            Self::Touch { projection, stream, sequence } => {
                write!(
                    f,
                    "projection={projection} telling the documents of stream={stream} sequence={sequence}"
                )
            }
            Self::Change { projection, document, stream, sequence } => {
                write!(
                    f,
                    "projection={projection} changing document={document} by stream={stream} sequence={sequence}"
                )
            }
        }
    }
}

/// Marks the error of a call that is not made any more.
#[derive(Debug)]
struct Blame;

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("blamed by how processes ended")
    }
}

impl StdError for Blame {}

/// So many processes have ended while this call was made.
pub fn blame(ends: u32, attempt: &Attempt) -> Error {
    Error::poison(format!("{ends} processes in a row have ended while {attempt}")).with_source(Blame)
}

/// What becomes of an event that its projection cannot take. Who is blamed may be blamed wrongly: a process may have taken the
/// event, and have ended, or go on, before that was saved. Where its documents tell its place in its stream, it finds itself
/// there when it comes back. Where they do not it would be applied once more at the place of its return, or be discarded and
/// there: so nobody goes on.
pub fn on_failure(configured: OnFailure, ordering: Ordering, error: &Error) -> OnFailure {
    let is_blame = StdError::source(error).is_some_and(|source| source.is::<Blame>());
    match (configured, ordering) {
        _ if !is_blame => configured,
        (OnFailure::Park, Ordering::PerStream) => OnFailure::Park,
        _ => OnFailure::Stop,
    }
}

/// What one process knows, and leaves behind: written before each call, so that whoever comes after it learns what it had in
/// hand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The calls that were last about to be made.
    trying: Vec<Attempt>,
    suspects: Vec<Suspect>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Suspect {
    attempt: Attempt,
    /// How many processes in a row have ended with it alone in hand.
    ends: u32,
}

impl Trial {
    /// Goes on from where another process ended.
    pub fn inherit(&mut self, from: &Self) {
        for Suspect { attempt, ends } in &from.suspects {
            self.suspect(attempt, *ends);
        }
        let alone = u32::from(from.trying.len() == 1);
        for attempt in &from.trying {
            self.suspect(attempt, from.ends_of(attempt) + alone);
        }
        let too_many = self.suspects.len().saturating_sub(MOST_SUSPECTS);
        // The oldest of those that have ended the fewest.
        self.suspects.sort_by_key(|suspect| suspect.ends);
        self.suspects.drain(..too_many);
    }

    /// How many of these, which come next, are tried together: a suspect alone.
    pub fn together(&self, attempts: &[Attempt]) -> usize {
        let suspect = attempts.iter().take(TOGETHER).position(|attempt| self.is_suspect(attempt));
        suspect.map_or(attempts.len().min(TOGETHER), |first| first.max(1))
    }

    /// These calls are made next; those before have come back.
    pub fn begin(&mut self, attempts: Vec<Attempt>) {
        let passed = std::mem::replace(&mut self.trying, attempts);
        for suspect in self.suspects.iter_mut().filter(|suspect| passed.contains(&suspect.attempt)) {
            suspect.ends = 0;
        }
    }

    /// They have come back, and none is made now.
    pub fn come_back(&mut self) {
        self.begin(Vec::new());
    }

    pub fn is_suspect(&self, attempt: &Attempt) -> bool {
        self.suspects.iter().any(|suspect| suspect.attempt.is_like(attempt))
    }

    /// How many processes it has ended, if that is too many.
    pub fn guilty(&self, attempt: &Attempt) -> Option<u32> {
        Some(self.ends_of(attempt)).filter(|ends| *ends >= TOO_MANY)
    }

    fn ends_of(&self, attempt: &Attempt) -> u32 {
        let known = self.suspects.iter().find(|suspect| suspect.attempt == *attempt);
        known.map_or(0, |suspect| suspect.ends)
    }

    fn suspect(&mut self, attempt: &Attempt, ends: u32) {
        match self.suspects.iter_mut().find(|suspect| suspect.attempt == *attempt) {
            Some(suspect) => suspect.ends = suspect.ends.max(ends),
            None => self.suspects.push(Suspect { attempt: attempt.clone(), ends }),
        }
    }
}
