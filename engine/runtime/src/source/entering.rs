//! How projections enter shards: where each stands, what it may read now, and what it begins with.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Error, ErrorKind, ProjectionId, Result, ShardId, Stop};
use tokio::sync::mpsc;

use super::{Door, QUEUE, Registered, Running, Stay, Whereabouts, tell_merge};
use crate::{
    checkpoint::{CheckpointHandle, Claim},
    line::ShardContext,
    lineage,
    merging::MergeInput,
    shard::{Entrant, Entrants, Role, ShardTask},
    subscription::Active,
    write::Outlet,
};

impl Running {
    /// Hands each projection to the shards that it may read now.
    pub(super) async fn let_in(&mut self) -> Result<()> {
        if self.task.drain.is_cancelled() {
            return Ok(());
        }
        self.look_up_checkpoints().await?;
        let mut entering: BTreeMap<(ShardId, Role), Vec<Entrant>> = BTreeMap::new();
        for registered in self.projections.clone() {
            if registered.active.is_leaving() {
                continue;
            }
            let id = registered.active.spec.id.clone();
            let outlook = self.lineage.outlook(&registered.control.gone, |shard| self.standing(&id, shard));
            for shard in &outlook.lost {
                self.lost(&id, shard).await?;
            }
            self.expect(&registered, &outlook.ready).await?;
            let role = Role::of(&registered.active);
            for shard in outlook.ready {
                if !self.may_enter(&shard, &role) {
                    continue;
                }
                self.look_up_ends(&registered, &shard).await?;
                if let Some(entrant) = self.entrant(&registered, &shard) {
                    entering.entry((shard, role.clone())).or_default().push(entrant);
                }
            }
        }
        for ((shard, role), entrants) in entering {
            self.send(shard, role, entrants).await?;
        }
        Ok(())
    }

    /// A merge writes nothing before all shards have begun that are there when it starts.
    async fn expect(&self, registered: &Registered, ready: &[ShardId]) -> Result<()> {
        let id = &registered.active.spec.id;
        let is_new = |shard: &&ShardId| self.is_outside(id, shard);
        let shards =
            ready.iter().filter(is_new).map(|shard| self.number(shard)).collect::<Result<Vec<_>>>()?;
        if !shards.is_empty() {
            tell_merge(&registered.active, MergeInput::Expect { shards }).await;
        }
        Ok(())
    }

    fn is_outside(&self, projection: &ProjectionId, shard: &ShardId) -> bool {
        let place = self.places.get(&(projection.clone(), shard.clone()));
        place.is_some_and(|place| place.stay == Stay::Outside)
    }

    async fn look_up_checkpoints(&mut self) -> Result<()> {
        for Registered { active, control } in self.projections.clone() {
            for shard in self.lineage.shards().map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                let key = (active.spec.id.clone(), shard.clone());
                if active.is_leaving() || self.places.contains_key(&key) {
                    continue;
                }
                let (rows, source) = (&self.rows, &self.task.spec.name);
                let read = CheckpointHandle::read(rows, &active.spec.id, source, &shard, &control).await;
                let Some(handle) = self.unless_fenced(&active, read)? else { break };
                let checkpoint = handle.checkpoint();
                let last_cut = checkpoint.cut.clone().filter(|_| checkpoint.ended);
                if checkpoint.ended {
                    self.tell_closed(&active, &shard).await?;
                }
                let whereabouts = Whereabouts { handle, checkpoint, stay: Stay::Outside, last_cut };
                self.places.insert(key, whereabouts);
            }
        }
        Ok(())
    }

    /// None: the projection was rewound, and leaves.
    pub(super) fn unless_fenced(
        &self,
        active: &Active,
        read: Result<Arc<CheckpointHandle>>,
    ) -> Result<Option<Arc<CheckpointHandle>>> {
        match read {
            Err(error) if error.kind() == ErrorKind::Fenced => {
                active.is_fenced(error, self.task.registry.busy());
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// A parent that others have ended since it was looked up counts as ended as soon as something descends from it. A
    /// child begins with the order state at its end, which is looked up now.
    async fn look_up_ends(&mut self, registered: &Registered, shard: &ShardId) -> Result<()> {
        let id = &registered.active.spec.id;
        let parents = self.lineage.get(shard).map(|known| known.parents.clone()).unwrap_or_default();
        if !self.is_outside(id, shard) {
            return Ok(());
        }
        for parent in parents {
            let key = (id.clone(), parent);
            if self.places.get(&key).is_none_or(|place| place.last_cut.is_some()) {
                continue;
            }
            let (rows, source) = (&self.rows, &self.task.spec.name);
            let read = CheckpointHandle::read(rows, id, source, &key.1, &registered.control).await;
            let Some(handle) = self.unless_fenced(&registered.active, read)? else { return Ok(()) };
            let checkpoint = handle.checkpoint();
            if let Some(place) = self.places.get_mut(&key).filter(|_| checkpoint.ended) {
                place.last_cut = checkpoint.cut.clone();
                place.checkpoint = checkpoint;
            }
        }
        Ok(())
    }

    /// Guards need not name a shard any more that this projection has settled to its end.
    async fn tell_closed(&mut self, active: &Arc<Active>, shard: &ShardId) -> Result<()> {
        let shard = self.number(shard)?;
        match &active.outlet {
            // Lanes that hang keep nobody else waiting.
            Outlet::Lanes(lanes) => {
                let (active, lanes) = (active.clone(), lanes.clone());
                self.tasks.start(format!("closing shard {shard} for {}", active.spec.id), async move {
                    active.while_it_stays(lanes.closed(shard)).await;
                    Ok(())
                });
            }
            Outlet::Merge { .. } => tell_merge(active, MergeInput::Closed { shard }).await,
        }
        Ok(())
    }

    fn standing(&self, projection: &ProjectionId, shard: &ShardId) -> lineage::Standing {
        match self.places.get(&(projection.clone(), shard.clone())) {
            Some(place) if place.checkpoint.ended || place.last_cut.is_some() => lineage::Standing::Ended,
            Some(place) if place.checkpoint.cut.is_some() => lineage::Standing::Begun,
            _ => lineage::Standing::NotBegun,
        }
    }

    fn entrant(&mut self, registered: &Registered, shard: &ShardId) -> Option<Entrant> {
        let id = &registered.active.spec.id;
        let parents = self.lineage.get(shard).map(|known| known.parents.clone()).unwrap_or_default();
        let known = |parent: &ShardId| self.places.get(&(id.clone(), parent.clone()));
        // The others had ended before, or were gone before it was registered, and never will.
        let is_read = |parent: &&Whereabouts| parent.last_cut.is_some() && !parent.checkpoint.ended;
        let unsettled = parents.iter().filter_map(known).filter(is_read);
        let unsettled = unsettled.map(|parent| parent.handle.clone()).collect();
        let parents =
            parents.iter().filter_map(|parent| Some((parent.clone(), known(parent)?.last_cut.clone()?)));
        let parents = parents.collect();
        let place = self.places.get_mut(&(id.clone(), shard.clone()))?;
        if place.stay != Stay::Outside {
            return None;
        }
        place.stay = Stay::Inside;
        Some(Entrant {
            projection: registered.active.clone(),
            handle: place.handle.clone(),
            parents,
            unsettled,
        })
    }

    /// The shard was trimmed before the projection had settled it: it stops there, and what descends from it is not
    /// ready for it.
    async fn lost(&mut self, projection: &ProjectionId, shard: &ShardId) -> Result<()> {
        // Who reads the shard already may have read all of it, and finds out if not.
        let is_new = |place: &&Whereabouts| place.stay == Stay::Outside;
        let Some(place) = self.places.get(&(projection.clone(), shard.clone())).filter(is_new) else {
            return Ok(());
        };
        let reason = format!(
            "the retention time of shard={shard} was over before the projection had read all of it; its events are lost to this projection. Give the projection a new version, or delete it and let it begin anew"
        );
        let at = self.task.services.clock.now();
        let stop = Stop { place: place.checkpoint.place(), event: None, reason, at };
        let claim = Claim {
            cut: None,
            waits_from: None,
            ended: false,
            settled_until: None,
            stop: Some(stop.clone()),
            at,
        };
        match place.handle.commit(claim).await {
            // It was rewound meanwhile, which is looked into soon.
            Err(error) if error.kind() == ErrorKind::Fenced => return Ok(()),
            committed => {
                committed?;
            }
        }
        if place.handle.checkpoint().stop.as_ref() != Some(&stop) {
            // Others have read it since that was looked up, which is looked up anew.
            self.places.remove(&(projection.clone(), shard.clone()));
            return Ok(());
        }
        self.stopped(projection, shard, stop);
        self.gone(projection, shard);
        Ok(())
    }

    async fn send(&mut self, shard: ShardId, role: Role, entrants: Vec<Entrant>) -> Result<()> {
        let key = (shard, role);
        if !self.shards.contains_key(&key) {
            let door = self.start(&key.0, &key.1)?;
            self.shards.insert(key.clone(), door);
            self.clear_caches(&key);
        }
        let Some(door) = self.shards.get(&key) else { return Ok(()) };
        // The shard's task ends only with an error, which comes through the tasks.
        let _ = door.entrants.send(Entrants { entrants, busy: self.task.registry.busy() }).await;
        Ok(())
    }

    fn start(&mut self, shard: &ShardId, role: &Role) -> Result<Door> {
        let (Some(known), Some(listed)) = (self.lineage.get(shard).cloned(), self.listed.get(shard).cloned())
        else {
            return Err(Error::internal(format!("shard={shard} is not listed")));
        };
        let context = Arc::new(ShardContext {
            source: self.task.spec.clone(),
            shard: listed,
            known,
            intake: self.task.intake.clone(),
            services: self.task.services.clone(),
            rows: self.rows.clone(),
            settings: self.task.settings.clone(),
            budget: self.task.budget.clone(),
            trials: self.task.trials.clone(),
            hurry: self.task.hurry.clone(),
            departures: self.task.departures.clone(),
        });
        let (sender, entrants) = mpsc::channel(QUEUE);
        let drain = self.task.drain.child_token();
        let task = ShardTask {
            context,
            entrants,
            events: self.events.0.clone(),
            registry: self.task.registry.clone(),
            drain: drain.clone(),
        };
        self.tasks.start(format!("shard {shard}, {role}"), task.run());
        Ok(Door { entrants: sender, drain })
    }
}
