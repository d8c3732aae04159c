//! Rewinds: first planned, so that it can be said what would be done, then done.

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    Checkpoint, Control, CutId, Epoch, Error, Generation, Journal, Position, ProjectionId, Result, ShardId,
    SourceName,
    ports::{From, Source},
};

use super::{Actor, Controls};
use crate::{
    checkpoint::effective,
    lineage::{Lineage, Standing, rewind::Start},
    planted::{self, Bug},
    rows,
};

/// Where a rewind goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewindTo {
    Beginning,
    /// So far back that what is behind these positions comes again. Shards that are not named go back to their beginning,
    /// but for those that the source does not list any more, of which nothing can come again.
    Positions(BTreeMap<ShardId, Position>),
}

/// Where a projection would start in each shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewindPlan {
    /// Made for this generation; of no use for another.
    pub generation: Generation,
    /// On these cuts; a shard that is not named starts at its beginning.
    pub starts: BTreeMap<ShardId, CutId>,
    /// Of these nothing is read again; their cuts are their ends.
    pub ended: BTreeSet<ShardId>,
    /// Shards that the projection has begun, and reads again from the beginning.
    pub to_beginning: BTreeSet<ShardId>,
}

/// What a plan is made from.
struct Facts<'a> {
    source: SourceName,
    reads: &'a dyn Source,
    control: Control,
    lineage: Lineage,
    stands: BTreeMap<ShardId, Checkpoint>,
}

impl Controls {
    /// What a rewind would do. `Invalid`: it needs what is not kept any more, of the source or of what was saved.
    pub async fn plan_rewind(
        &self,
        projection: &ProjectionId,
        source: &dyn Source,
        to: &RewindTo,
    ) -> Result<RewindPlan> {
        let control = self.get(projection).await?;
        let mut plan = RewindPlan {
            generation: control.generation,
            starts: BTreeMap::new(),
            ended: BTreeSet::new(),
            to_beginning: BTreeSet::new(),
        };
        let Some(lineage) = self.rows.source(&control.source).await? else { return Ok(plan) };
        let stands = self.stands(projection, &control, &lineage.body).await?;
        let facts =
            Facts { source: control.source.clone(), reads: source, control, lineage: lineage.body, stands };
        for (shard, start) in facts.starts(to) {
            self.plan_shard(&facts, &shard, start, &mut plan).await?;
        }
        self.refuse_without_ends(&facts, &plan).await?;
        Ok(plan)
    }

    /// The checkpoints that count. Children are read before their parents: who has begun one has ended all of these.
    async fn stands(
        &self,
        projection: &ProjectionId,
        control: &Control,
        lineage: &Lineage,
    ) -> Result<BTreeMap<ShardId, Checkpoint>> {
        let mut shards: Vec<_> = lineage.shards().collect();
        shards.sort_by_key(|(_, known)| std::cmp::Reverse(known.number));
        let mut stands = BTreeMap::new();
        for (shard, _) in shards {
            let stored = self.rows.checkpoint(projection, &control.source, shard).await?;
            stands.insert(shard.clone(), effective(stored.map(|stored| stored.body), control, shard));
        }
        Ok(stands)
    }

    async fn plan_shard(
        &self,
        facts: &Facts<'_>,
        shard: &ShardId,
        start: Start,
        plan: &mut RewindPlan,
    ) -> Result<()> {
        let begins = match start {
            Start::Ended(cut) => {
                plan.ended.insert(shard.clone());
                plan.starts.insert(shard.clone(), cut);
                return Ok(());
            }
            Start::Unmoved(cut) => {
                plan.starts.insert(shard.clone(), cut);
                return Ok(());
            }
            Start::NotBehind(place) => {
                self.rows.newest_cut(&facts.source, shard, &place).await?.map(|(cut, _)| cut)
            }
            Start::Beginning => None,
        };
        if facts.standing(shard) == Standing::NotBegun {
            return Ok(());
        }
        self.refuse_if_trimmed(facts, shard, begins.as_ref()).await?;
        match begins {
            Some(cut) => drop(plan.starts.insert(shard.clone(), cut)),
            None => drop(plan.to_beginning.insert(shard.clone())),
        }
        Ok(())
    }

    async fn refuse_if_trimmed(
        &self,
        facts: &Facts<'_>,
        shard: &ShardId,
        start: Option<&CutId>,
    ) -> Result<()> {
        if facts.lineage.get(shard).is_some_and(|known| known.gone_at.is_some()) {
            return Err(Error::invalid(format!(
                "shard={shard} cannot be read again: the source does not keep it any more. Name a time that is behind all of it, or give the projection a new version, which begins with what is kept"
            )));
        }
        let journal = self.rows.get::<Journal>(&rows::journal_key(&facts.source, shard)).await?;
        let Some(journal) = journal.map(|stored| stored.body) else { return Ok(()) };
        let kept = facts.reads.open(shard, From::TrimHorizon).await?.position();
        let kept = kept.max(journal.trimmed.unwrap_or(Position::BEGINNING));
        let begins = start.map_or(&Position::BEGINNING, |cut| &cut.place.position);
        if *begins.max(&journal.start) >= kept {
            return Ok(());
        }
        let mut cuts = self.rows.cut_ids(&facts.source, shard).await?;
        cuts.retain(|id| id.place.position >= kept);
        let oldest = cuts.first().map(|id| &id.place.position);
        let way_out = oldest.map_or("nothing that was saved is behind that".to_owned(), |oldest| {
            format!("the oldest position that can be named is {oldest}")
        });
        Err(Error::invalid(format!(
            "shard={shard} cannot go back to position={begins}: what happened in it is kept only from position={kept} on, and {way_out}. Name a later time, or give the projection a new version, which begins with what is kept"
        )))
    }

    /// A child that starts at its beginning needs what its parents ended with.
    async fn refuse_without_ends(&self, facts: &Facts<'_>, plan: &RewindPlan) -> Result<()> {
        for shard in &plan.to_beginning {
            let parents = facts.lineage.get(shard).into_iter().flat_map(|known| &known.parents);
            for parent in parents.filter(|parent| plan.ended.contains(*parent)) {
                let Some(end) = plan.starts.get(parent) else { continue };
                if !self.rows.has_cut(&facts.source, parent, end).await? {
                    return Err(Error::invalid(format!(
                        "shard={shard} cannot go back to its beginning: what its parent={parent} had ended with was removed when the source kept nothing of that any more. Name a later time, or give the projection a new version, which begins with what is kept"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Raises the generation, so that checkpoints count for nothing, and with `rebuild` the guards' epoch, so that
    /// documents are built anew. A checkpoint that is on its way loses against the higher generation. `Invalid`: it was
    /// rewound since the plan was made.
    pub async fn rewind(
        &self,
        projection: &ProjectionId,
        plan: &RewindPlan,
        rebuild: bool,
        actor: &Actor,
    ) -> Result<Generation> {
        let changed = self.change(projection, |control| {
            if control.generation != plan.generation {
                return false;
            }
            control.generation =
                Generation(plan.generation.0 + u32::from(!planted::is(Bug::RewindWithoutGeneration)));
            control.epoch = Epoch(control.epoch.0 + u32::from(rebuild));
            control.starts.clone_from(&plan.starts);
            control.ended.clone_from(&plan.ended);
            true
        });
        if !changed.await? {
            return Err(Error::invalid(format!(
                "projection={projection} was rewound by another meanwhile; look at `projections describe`, and rewind again if it is still wanted"
            )));
        }
        self.audit(actor, "rewind", projection, details(plan, rebuild)).await?;
        Ok(Generation(plan.generation.0 + 1))
    }
}

impl Facts<'_> {
    fn starts(&self, to: &RewindTo) -> BTreeMap<ShardId, Start> {
        let asked = match to {
            RewindTo::Beginning => BTreeMap::new(),
            RewindTo::Positions(positions) => {
                let gone = self.lineage.shards().filter(|(_, known)| known.gone_at.is_some());
                let stays = |shard: &ShardId| self.stands.get(shard).map(|stands| stands.place().position);
                let gone = gone.filter_map(|(shard, _)| Some((shard.clone(), stays(shard)?)));
                positions.clone().into_iter().chain(gone).collect()
            }
        };
        self.lineage.rewound(&self.control.gone, &self.stands, &asked)
    }

    fn standing(&self, shard: &ShardId) -> Standing {
        self.stands.get(shard).map_or(Standing::NotBegun, Standing::of)
    }
}

fn details(plan: &RewindPlan, rebuild: bool) -> BTreeMap<String, String> {
    let starts = plan.starts.iter().filter(|(shard, _)| !plan.ended.contains(*shard));
    let starts: Vec<String> = starts.map(|(shard, cut)| format!("{shard}@{}", cut.place)).collect();
    BTreeMap::from([("rebuild".to_owned(), rebuild.to_string()), ("starts".to_owned(), starts.join(" "))])
}
