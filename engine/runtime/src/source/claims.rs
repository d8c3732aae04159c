//! How a source's lanes follow the leases: they enter shards that are won, and leave those that are lost or passed on.

use foldstream_model::{LeaseKey, Ordering, ProjectionId, Result, ShardId};

use super::{Running, SourceTask, Stay};
use crate::{
    checkpoint::CheckpointHandle,
    leases::{Holding, safe::Stands},
    leasing::Told,
    shard::Role,
    write::Outlet,
};

impl SourceTask {
    /// Nobody reads yet: what is held for projections that are paused, or run elsewhere, is passed on as it is.
    pub(super) async fn hold_idle(&mut self) {
        let held = self.claims.look();
        for (key, offer) in held.to_pass_on().filter(|(key, _)| matches!(key, LeaseKey::Shard(_))) {
            self.claims.tell(Told::Drained(key.clone(), offer)).await;
        }
        self.claims.follows(&held).await;
    }
}

impl Running {
    /// Whether those of a role may enter a shard now. Merges read all shards.
    pub(super) fn may_enter(&self, shard: &ShardId, role: &Role) -> bool {
        *role != Role::Lanes || (self.works_on(shard) && !self.left.contains(shard))
    }

    fn works_on(&self, shard: &ShardId) -> bool {
        self.held.get(&LeaseKey::Shard(shard.clone())) == Some(Holding::Work)
    }

    /// The work that there is may have changed.
    pub(super) async fn tell_of_change(&self) {
        self.task.claims.tell(Told::Changed(self.task.registry.busy())).await;
    }

    /// Looks what is held now; others may have found a shard that is won since this worker last asked. Lanes leave what
    /// is not to be worked on any more, and say when they have left.
    pub(super) async fn follow_claims(&mut self) -> Result<()> {
        let before = std::mem::replace(&mut self.held, self.task.claims.look());
        let is_won = |shard: &&ShardId| before.get(&LeaseKey::Shard((*shard).clone())) != Some(Holding::Work);
        let won: Vec<ShardId> = self.held.to_work_on().filter(is_won).cloned().collect();
        if won.iter().any(|shard| !self.listed.contains_key(shard)) {
            self.discover_again().await?;
        }
        self.forget_where_others_worked(&won);
        let lost = |(shard, role): &(ShardId, Role)| *role == Role::Lanes && !self.works_on(shard);
        let lost: Vec<_> = self.shards.keys().filter(|key| lost(key)).cloned().collect();
        for key in lost {
            if let Some(door) = self.shards.remove(&key) {
                tracing::info!(source = %self.task.spec.name, shard = %key.0, "leaving the shard to others");
                door.drain.cancel();
                self.left.insert(key.0);
            }
        }
        for shard in self.left.clone() {
            self.forget_when_left(&shard).await;
        }
        let held = self.held.clone();
        for (key, offer) in held.to_pass_on() {
            if matches!(key, LeaseKey::Shard(shard) if !self.left.contains(shard)) {
                self.task.claims.tell(Told::Drained(key.clone(), offer)).await;
            }
        }
        Ok(())
    }

    /// Where lanes stand in shards that are won is read anew: others have worked since it was looked up.
    fn forget_where_others_worked(&mut self, won: &[ShardId]) {
        let lanes: Vec<ProjectionId> = self.with_lanes().cloned().collect();
        for key in won.iter().flat_map(|shard| lanes.iter().map(|id| (id.clone(), shard.clone()))) {
            if self.places.get(&key).is_some_and(|place| place.stay == Stay::Outside) {
                self.places.remove(&key);
            }
        }
    }

    /// When all lanes have left a shard, where they stand there is forgotten, and read anew when it is won again.
    async fn forget_when_left(&mut self, shard: &ShardId) {
        let lanes: Vec<ProjectionId> = self.with_lanes().cloned().collect();
        let is_inside = |id: &ProjectionId| {
            let place = self.places.get(&(id.clone(), shard.clone()));
            place.is_some_and(|place| place.stay == Stay::Inside)
        };
        if lanes.iter().any(is_inside) {
            return;
        }
        self.tell_where_lanes_stand(shard).await;
        self.left.remove(shard);
        for id in lanes {
            let key = (id, shard.clone());
            if self.places.get(&key).is_some_and(|place| !place.checkpoint.ended) {
                self.places.remove(&key);
            }
            self.task.registry.forget_shard(&key.0, shard);
        }
    }

    fn with_lanes(&self) -> impl Iterator<Item = &ProjectionId> {
        let known = self.projections.iter().map(|known| &known.active.spec);
        known.filter(|spec| spec.ordering != Ordering::Global).map(|spec| &spec.id)
    }

    /// What other workers have settled meanwhile in the shards before those that this one holds; and for the leases,
    /// how far its own are.
    pub(super) async fn look_at_others(&mut self) -> Result<()> {
        for registered in self.projections.clone() {
            let id = &registered.active.spec.id;
            if registered.active.spec.ordering == Ordering::Global || registered.active.is_leaving() {
                continue;
            }
            for shard in self.waited_for(id) {
                let (rows, source) = (&self.rows, &self.task.spec.name);
                let read = CheckpointHandle::read(rows, id, source, &shard, &registered.control).await;
                let Some(handle) = self.unless_fenced(&registered.active, read)? else { break };
                if let Some(place) = self.places.get_mut(&(id.clone(), shard)) {
                    place.checkpoint = handle.checkpoint();
                    place.last_cut = place.checkpoint.cut.clone().filter(|_| place.checkpoint.ended);
                    place.handle = handle;
                }
            }
        }
        self.tell_how_far().await;
        Ok(())
    }

    /// Shards held by others that come before a shard of ours that the projection may not read yet.
    fn waited_for(&self, id: &ProjectionId) -> Vec<ShardId> {
        let place = |shard: &ShardId| self.places.get(&(id.clone(), shard.clone()));
        let is_open = |shard: &ShardId| {
            place(shard).is_some_and(|place| place.stay == Stay::Outside && !place.checkpoint.ended)
        };
        let ours = self.lineage.shards().map(|(shard, _)| shard);
        let mut before: Vec<&ShardId> = ours.filter(|shard| self.works_on(shard) && is_open(shard)).collect();
        let mut waited_for = Vec::new();
        while let Some(shard) = before.pop() {
            for parent in self.lineage.get(shard).into_iter().flat_map(|known| &known.parents) {
                if is_open(parent) && !waited_for.contains(parent) {
                    waited_for.push(parent.clone());
                    before.push(parent);
                }
            }
        }
        waited_for
    }

    async fn tell_how_far(&self) {
        for (shard, _) in self.shards.keys().filter(|(_, role)| *role == Role::Lanes) {
            self.tell_where_lanes_stand(shard).await;
        }
    }

    async fn tell_where_lanes_stand(&self, shard: &ShardId) {
        let stands = self.with_lanes().filter_map(|id| {
            let place = self.places.get(&(id.clone(), shard.clone()))?;
            Some((id.clone(), Stands::of(&place.handle.checkpoint(), self.lineage.get(shard))))
        });
        self.task.claims.tell(Told::Stands(shard.clone(), stands.collect())).await;
    }

    /// A shard that was won may have been in other hands since its documents were cached.
    pub(super) fn clear_caches(&mut self, (shard, role): &(ShardId, Role)) {
        if *role != Role::Lanes {
            return;
        }
        for registered in &self.projections {
            let active = registered.active.clone();
            if let Outlet::Lanes(lanes) = &active.outlet {
                let (lanes, name) = (lanes.clone(), format!("caches of {} for {shard}", active.spec.id));
                self.tasks.start(name, async move {
                    active.while_it_stays(lanes.clear_caches()).await;
                    Ok(())
                });
            }
        }
    }
}
