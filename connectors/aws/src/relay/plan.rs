//! Which shards of the table's stream can be begun, and what was lost: synchronous.

use std::collections::BTreeMap;

use foldstream_model::{Error, Position, Result, ShardId, ports::From};
use serde::{Deserialize, Serialize};

use crate::streams::Descent;

/// How far a shard is, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRow {
    /// Everything up to here is in the stream. None: nothing yet, and it is begun at the oldest change that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The shard has ended, and everything in it is in the stream.
    pub finished: bool,
}

impl ShardRow {
    /// Of a shard that was there when the relay was begun.
    pub(super) const FIRST: Self = Self { position: None, finished: false };

    /// Of a shard that was found later: it has its first record still.
    pub(super) const LATER: Self = Self { position: Some(Position::BEGINNING), finished: false };

    pub(super) fn start(&self) -> From {
        self.position.clone().map_or(From::TrimHorizon, From::After)
    }
}

pub(super) type ShardRows = BTreeMap<ShardId, ShardRow>;

/// What a look at the stream has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Shards that are not finished and whose parents are, parents first.
    pub open: Vec<ShardId>,
    /// Shards whose rows are not needed any more.
    pub forgotten: Vec<ShardId>,
}

/// `before` are the rows before the stream was listed, `after` those after it: others move on meanwhile, and what is
/// missing in both was lost. `Invalid`: changes were trimmed before they were relayed.
pub(super) fn plan(descents: &[Descent], before: &ShardRows, after: &ShardRows) -> Result<Plan> {
    let listed = |shard: &ShardId| descents.iter().any(|descent| descent.shard == *shard);
    let is_finished = |shard: &ShardId| after.get(shard).is_some_and(|row| row.finished);
    if let Some(lost) =
        before.keys().find(|shard| !listed(shard) && after.contains_key(shard) && !is_finished(shard))
    {
        return Err(loss(lost, after.get(lost)));
    }
    let mut plan = Plan::default();
    for Descent { shard, parent } in descents.iter().filter(|descent| !is_finished(&descent.shard)) {
        let may_begin = after.contains_key(shard) || parent.as_ref().is_none_or(is_finished);
        if let Some(parent) = parent.as_ref().filter(|parent| !may_begin && !listed(parent)) {
            return Err(loss(parent, after.get(parent)));
        }
        if may_begin && parent.as_ref().is_none_or(|parent| !listed(parent) || is_finished(parent)) {
            plan.open.push(shard.clone());
        }
    }
    let is_parent = |shard: &ShardId| descents.iter().any(|descent| descent.parent.as_ref() == Some(shard));
    let is_old = |shard: &&ShardId| !listed(shard) && !is_parent(shard) && before.contains_key(*shard);
    plan.forgotten = after.keys().filter(is_old).cloned().collect();
    Ok(plan)
}

fn loss(shard: &ShardId, row: Option<&ShardRow>) -> Error {
    let done = row.and_then(|row| row.position.as_ref()).map_or("none".to_owned(), Position::to_string);
    Error::invalid(format!(
        "changes were trimmed from the table's stream before they were relayed: shard={shard} relayed_until={done}; \
         DynamoDB keeps them for 24 hours. Begin the relay anew, with what is kept: readers then see gaps, which are \
         filled from the table"
    ))
}

#[cfg(test)]
mod tests {
    use foldstream_model::ErrorKind;

    use super::*;

    fn descents(listed: &[(&str, &str)]) -> Vec<Descent> {
        let parent = |parent: &str| (!parent.is_empty()).then(|| ShardId::new(parent));
        listed.iter().map(|(id, of)| Descent { shard: ShardId::new(*id), parent: parent(of) }).collect()
    }

    fn rows(finished: &[(&str, bool)]) -> ShardRows {
        let row = |finished| ShardRow { position: Some(Position::new(7)), finished };
        finished.iter().map(|(id, finished)| (ShardId::new(*id), row(*finished))).collect()
    }

    fn planned(listed: &[(&str, &str)], stored: &[(&str, bool)]) -> Result<(Vec<String>, Vec<String>)> {
        let plan = plan(&descents(listed), &rows(stored), &rows(stored))?;
        let names = |shards: &[ShardId]| shards.iter().map(ToString::to_string).collect();
        Ok((names(&plan.open), names(&plan.forgotten)))
    }

    #[track_caller]
    fn is_loss(listed: &[(&str, &str)], stored: &[(&str, bool)], shard: &str) {
        let error = planned(listed, stored).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(&format!("shard={shard} ")), "{error}");
    }

    #[test]
    fn a_child_waits_for_its_parent() {
        let listed = [("a", ""), ("b", "a"), ("c", "a"), ("d", "b")];
        let open = |stored: &[(&str, bool)]| planned(&listed, stored).unwrap().0;
        assert_eq!(open(&[("a", false)]), ["a"]);
        assert_eq!(open(&[("a", true)]), ["b", "c"]);
        assert_eq!(open(&[("a", true), ("b", false), ("c", true)]), ["b"]);
        assert_eq!(open(&[("a", true), ("b", true), ("c", true)]), ["d"]);
        let all = [("a", false), ("b", false), ("c", false), ("d", false)];
        assert_eq!(open(&all), ["a"], "though they were all there when the relay began");
    }

    #[test]
    fn what_came_and_went_unseen_is_lost() {
        is_loss(&[("c", "b")], &[("a", true)], "b");
        is_loss(&[("c", "b")], &[("b", false)], "b");
        is_loss(&[("c", "")], &[("a", false), ("c", false)], "a");
        assert_eq!(planned(&[("c", "b")], &[("b", true)]).unwrap().0, ["c"]);
        assert_eq!(planned(&[("c", "b")], &[("c", false)]).unwrap().0, ["c"], "it was there at first");
    }

    #[test]
    fn what_others_did_meanwhile_is_no_loss() {
        let listed = descents(&[("b", "a")]);
        let plan =
            |before: &[(&str, bool)], after: &[(&str, bool)]| plan(&listed, &rows(before), &rows(after));
        assert_eq!(plan(&[("a", false)], &[("a", true)]).unwrap().open, [ShardId::new("b")]);
        assert!(plan(&[("a", true)], &[("a", true), ("new", false)]).unwrap().forgotten.is_empty());
    }

    #[test]
    fn a_row_is_forgotten_when_no_shard_that_is_listed_descends_from_it() {
        let (open, forgotten) = planned(&[("c", "b")], &[("a", true), ("b", true), ("c", false)]).unwrap();
        assert_eq!((open, forgotten), (vec!["c".to_owned()], vec!["a".to_owned()]));
    }
}
