//! Where to begin, where to go on, and where to stop.

use foldstream_model::{Error, Event, Result, Timestamp};

use super::{
    events::Committed,
    git::{ObjectId, Repository},
};

/// What earlier runs have taken, as the stream `history` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The commit of its first event.
    pub first: ObjectId,
    /// The commit of its last event.
    pub last: ObjectId,
    /// How many commits it has.
    pub number: u64,
    /// When the last event counts as recorded.
    pub recorded_at: Timestamp,
}

impl Taken {
    /// Reads it from the first and the last event of the stream `history`.
    pub fn from_events(first: &Event, last: &Event) -> Result<Self> {
        let (first, end) = (committed(first)?, committed(last)?);
        Ok(Self {
            first: ObjectId::parse(first.commit.as_bytes())?,
            last: ObjectId::parse(end.commit.as_bytes())?,
            number: end.number,
            recorded_at: last.recorded_at,
        })
    }
}

fn committed(event: &Event) -> Result<Committed> {
    serde_json::from_slice(&event.payload.raw).map_err(|error| {
        Error::invalid(format!(
            "the stored history is not one of git commits: event={} ({error}); use another folder with --data",
            event.id
        ))
    })
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// The branch has no commits yet, and nothing was taken before.
    Unborn,
    /// Everything up to the commit was taken before.
    UpToDate { at: ObjectId },
    /// Take these commits.
    Take { after: Option<ObjectId>, to: ObjectId, commits: u64, notes: Vec<String> },
}

impl Plan {
    /// Decides from what was taken before and what the repository has now. `until` is a commit's name as the user gave
    /// it; HEAD without. `Invalid`, with the way out, when the new commits do not follow those that were taken.
    pub fn make(repository: &Repository, until: Option<&str>, taken: Option<&Taken>) -> Result<Self> {
        let Some(head) = repository.head() else {
            return match taken {
                None => Ok(Self::Unborn),
                Some(taken) => Err(elsewhere(taken, "HEAD names a branch that has no commits yet")),
            };
        };
        let to = until.map_or(Ok(head), |name| end(repository, head, name))?;
        let Some(taken) = taken else {
            let line = repository.line(None, to)?;
            let notes = line.oldest.filter(|oldest| repository.begins_with(*oldest)).map(begins_shallow);
            return Ok(Self::Take {
                after: None,
                to,
                commits: line.commits,
                notes: notes.into_iter().collect(),
            });
        };
        if taken.last == to {
            return Ok(Self::UpToDate { at: to });
        }
        follow(repository, taken, to)
    }
}

/// The commit that `--until` names, which must be on the first-parent line of HEAD.
fn end(repository: &Repository, head: ObjectId, name: &str) -> Result<ObjectId> {
    let Some(until) = repository.resolve(name)? else {
        return Err(Error::invalid(format!(
            "--until names no commit of this repository: until={name:?}; give a hash, a tag or a branch"
        )));
    };
    if until != head && repository.line(Some(until), head)?.joins != Some(until) {
        return Err(Error::invalid(format!(
            "--until names a commit that is not on the first-parent line of HEAD: until={name:?} commit={} head={}; \
             `git log --first-parent --oneline` shows those that are (a commit of a merged branch is part of its \
             merge)",
            until.short(),
            head.short()
        )));
    }
    Ok(until)
}

fn follow(repository: &Repository, taken: &Taken, to: ObjectId) -> Result<Plan> {
    if !repository.has_commit(taken.last)? {
        return Err(elsewhere(
            taken,
            "that commit is not in this repository: another one, or its history was rewritten",
        ));
    }
    let line = repository.line(Some(taken.last), to)?;
    if line.joins == Some(taken.last) {
        let notes = deepened(repository, taken)?.into_iter().collect();
        return Ok(Plan::Take { after: Some(taken.last), to, commits: line.commits, notes });
    }
    if repository.line(Some(to), taken.last)?.joins == Some(to) {
        return Err(elsewhere(taken, &format!("the data is already past commit {}", to.short())));
    }
    let reason = format!("it is not on the first-parent line of commit {}", to.short());
    match line.oldest.filter(|oldest| repository.begins_with(*oldest)) {
        Some(oldest) => Err(elsewhere(
            taken,
            &format!(
                "{reason}, which begins with {} in this shallow clone: try `git fetch --unshallow`",
                oldest.short()
            ),
        )),
        None => Err(elsewhere(
            taken,
            &format!("{reason}: the history was rewritten, or another branch is checked out"),
        )),
    }
}

/// A clone that was shallow when its first commit was taken may know more of the past now.
fn deepened(repository: &Repository, taken: &Taken) -> Result<Option<String>> {
    if !repository.has_commit(taken.first)? {
        return Ok(None);
    }
    let earlier = repository.line(None, taken.first)?.commits.saturating_sub(1);
    let note = format!(
        "the data begins with commit {}, where the clone was shallow; the {earlier} commits before it are not taken \
         (another folder with --data takes all)",
        taken.first.short()
    );
    Ok((earlier > 0).then_some(note))
}

fn begins_shallow(oldest: ObjectId) -> String {
    format!(
        "this clone is shallow: its history begins with commit {}, whose files all count as added there \
         (`git fetch --unshallow` first takes the whole history)",
        oldest.short()
    )
}

fn elsewhere(taken: &Taken, reason: &str) -> Error {
    Error::invalid(format!(
        "cannot go on behind the last commit taken: commit={} taken={}; {reason}. Use another folder with --data for \
         this history, or bring the old one back",
        taken.last.short(),
        taken.number
    ))
}

#[cfg(test)]
mod tests;
