//! What operators decide about projections: registered, paused, rewound, deleted; each audited.

use std::collections::BTreeMap;

use foldstream_model::{
    Control, CutId, Epoch, Error, Generation, Journal, Lot, Place, Position, ProjectionId, Result, ShardId,
    SourceName, Timestamp,
    ports::{DocumentStore, From, ParkingLot, Source, Table},
};

use crate::{
    assembly::ProjectionSpec,
    rows::{self, AuditRow, Rows, Versioned},
};

/// How a projection's definition stands to what is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Nothing was registered; it is now.
    New,
    Same,
    /// Another definition is registered under this version.
    Differs(Box<Control>),
}

/// Who does something, and why; every change of a control is audited with it.
#[derive(Debug, Clone)]
pub struct Actor {
    pub who: String,
    pub reason: Option<String>,
    pub at: Timestamp,
}

/// Where a rewind goes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewindTo {
    Beginning,
    /// Not behind this position, by shard; shards that are not named go back to their beginning.
    Positions(BTreeMap<ShardId, Position>),
}

/// The cuts that a rewind starts on, by shard.
pub type Starts = BTreeMap<ShardId, CutId>;

pub struct Controls {
    rows: Rows,
}

impl Controls {
    pub fn new(rows: Rows) -> Self {
        Self { rows }
    }

    /// Registers a projection that is new, and says how its definition stands to one that is not. `Invalid`: its
    /// checkpoints speak of another document store.
    pub async fn register(&self, spec: &ProjectionSpec, at: Timestamp) -> Result<Registration> {
        let store = spec.documents.identity().await?;
        loop {
            if let Some(stored) = self.rows.control(&spec.id).await? {
                return self.compare(spec, stored.body, &store);
            }
            let control = Control {
                source: spec.source.clone(),
                ordering: spec.ordering,
                definition: spec.definition.clone(),
                fingerprint: spec.fingerprint.clone(),
                store: store.clone(),
                generation: Generation::default(),
                epoch: Epoch::default(),
                paused: false,
                starts: BTreeMap::new(),
                registered_at: at,
            };
            if self.rows.put(&rows::control_key(&spec.id), None, &control).await?.is_some() {
                return Ok(Registration::New);
            }
        }
    }

    fn compare(&self, spec: &ProjectionSpec, stored: Control, store: &str) -> Result<Registration> {
        if stored.store != store {
            return Err(Error::invalid(format!(
                "projection={}: its checkpoints speak of another document store: known={} found={store}; the store was replaced or restored. Delete the projection and let it begin anew, or bring the old store back",
                spec.id, stored.store
            )));
        }
        match stored.fingerprint == spec.fingerprint {
            true => Ok(Registration::Same),
            false => Ok(Registration::Differs(Box::new(stored))),
        }
    }

    pub async fn list(&self) -> Result<Vec<(ProjectionId, Control)>> {
        let rows = self.rows.all::<Control>(Table::Controls, rows::CONTROLS).await?;
        rows.into_iter().map(|(name, control)| Ok((projection_id(&name)?, control.body))).collect()
    }

    pub async fn get(&self, projection: &ProjectionId) -> Result<Control> {
        Ok(self.stored(projection).await?.body)
    }

    async fn stored(&self, projection: &ProjectionId) -> Result<Versioned<Control>> {
        match self.rows.control(projection).await? {
            Some(stored) => Ok(stored),
            None => Err(Error::invalid(format!(
                "projection={projection} is not registered; `projections list` shows those that are"
            ))),
        }
    }

    /// Pauses or resumes; false when it was so already. A worker that runs notices by itself.
    pub async fn set_paused(&self, projection: &ProjectionId, paused: bool, actor: &Actor) -> Result<bool> {
        let changed = self
            .change(projection, |control| {
                let changes = control.paused != paused;
                control.paused = paused;
                changes
            })
            .await?;
        if changed {
            let action = if paused { "pause" } else { "resume" };
            self.audit(actor, action, projection, BTreeMap::new()).await?;
        }
        Ok(changed)
    }

    /// The cuts that a rewind would start on. Shards without a fitting cut go back to their beginning. Invalid: records
    /// are needed that the source does not keep any more.
    pub async fn plan_rewind(
        &self,
        name: &SourceName,
        source: &dyn Source,
        shards: &[ShardId],
        to: &RewindTo,
    ) -> Result<Starts> {
        let RewindTo::Positions(positions) = to else { return Ok(Starts::new()) };
        let mut starts = Starts::new();
        for shard in shards {
            let Some(position) = positions.get(shard) else { continue };
            let cut = self.rows.newest_cut(name, shard, &Place::end(position.clone(), u32::MAX)).await?;
            self.refuse_if_trimmed(name, source, shard, position, cut.as_ref()).await?;
            starts.extend(cut.map(|cut| (shard.clone(), cut)));
        }
        Ok(starts)
    }

    async fn refuse_if_trimmed(
        &self,
        name: &SourceName,
        source: &dyn Source,
        shard: &ShardId,
        to: &Position,
        start: Option<&CutId>,
    ) -> Result<()> {
        let journal = self.rows.get::<Journal>(&rows::journal_key(name, shard)).await?;
        let Some(journal) = journal.map(|stored| stored.body) else { return Ok(()) };
        let kept = source.open(shard, From::TrimHorizon).await?.position();
        let kept = kept.max(journal.trimmed.unwrap_or(Position::BEGINNING));
        let begins = start.map_or(&Position::BEGINNING, |cut| &cut.place.position);
        if *begins.max(&journal.start) >= kept {
            return Ok(());
        }
        let mut cuts = self.rows.cut_ids(name, shard).await?;
        cuts.retain(|id| id.place.position >= kept);
        let oldest = cuts.first().map(|id| &id.place.position);
        let way_out = oldest.map_or("nothing that was saved is behind that".to_owned(), |oldest| {
            format!("the oldest position that can be named is {oldest}")
        });
        Err(Error::invalid(format!(
            "shard={shard} cannot go back to position={to}: what happened in it is kept only from position={kept} on, and {way_out}"
        )))
    }

    /// Raises the generation, so that checkpoints count for nothing, and with `rebuild` the guards' epoch, so that
    /// documents are built anew. A checkpoint that is on its way loses against the higher generation.
    pub async fn rewind(
        &self,
        projection: &ProjectionId,
        starts: Starts,
        rebuild: bool,
        actor: &Actor,
    ) -> Result<Generation> {
        let details = BTreeMap::from([
            ("rebuild".to_owned(), rebuild.to_string()),
            (
                "starts".to_owned(),
                starts
                    .iter()
                    .map(|(shard, cut)| format!("{shard}@{}", cut.place))
                    .collect::<Vec<_>>()
                    .join(" "),
            ),
        ]);
        self.change(projection, |control| {
            control.generation = Generation(control.generation.0 + 1);
            control.epoch = Epoch(control.epoch.0 + u32::from(rebuild));
            control.starts = starts.clone();
            true
        })
        .await?;
        self.audit(actor, "rewind", projection, details).await?;
        Ok(self.get(projection).await?.generation)
    }

    async fn change(&self, projection: &ProjectionId, change: impl Fn(&mut Control) -> bool) -> Result<bool> {
        loop {
            let mut stored = self.stored(projection).await?;
            if !change(&mut stored.body) {
                return Ok(false);
            }
            let key = rows::control_key(projection);
            if self.rows.put(&key, Some(stored.revision), &stored.body).await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// Removes a projection: what is registered of it, its checkpoints, its documents, parked or not. A worker must not
    /// be running it.
    pub async fn delete(
        &self,
        projection: &ProjectionId,
        documents: &dyn DocumentStore,
        parking: &dyn ParkingLot,
        actor: &Actor,
    ) -> Result<()> {
        let control = self.get(projection).await?;
        documents.remove(projection).await?;
        for epoch in 0..=control.epoch.0 {
            let lot = Lot { projection: projection.clone(), epoch: Epoch(epoch) };
            parking.clear(&lot).await?;
            self.rows.clear(Table::Discarded, &lot.row_name()).await?;
        }
        self.rows.clear(Table::Checkpoints, &projection.row_name()).await?;
        self.rows.clear(Table::Late, &projection.row_name()).await?;
        self.rows.delete(&rows::control_key(projection)).await?;
        self.audit(actor, "delete", projection, BTreeMap::new()).await
    }

    /// The newest last.
    pub async fn audits(&self) -> Result<Vec<AuditRow>> {
        let rows = self.rows.all::<AuditRow>(Table::Audit, rows::AUDIT).await?;
        Ok(rows.into_iter().map(|(_, row)| row.body).collect())
    }

    /// Takes another definition over under the same version: who asks for it says that it differs only in what it does
    /// with events that could not be taken before.
    pub async fn amend(&self, spec: &ProjectionSpec, actor: &Actor) -> Result<()> {
        self.change(&spec.id, |control| {
            control.definition.clone_from(&spec.definition);
            control.fingerprint.clone_from(&spec.fingerprint);
            true
        })
        .await?;
        self.audit(actor, "amend", &spec.id, BTreeMap::new()).await
    }

    /// Writes down who did what.
    pub async fn audit(
        &self,
        actor: &Actor,
        action: &str,
        target: &impl ToString,
        details: BTreeMap<String, String>,
    ) -> Result<()> {
        let row = AuditRow {
            at: actor.at,
            who: actor.who.clone(),
            action: action.to_owned(),
            target: target.to_string(),
            reason: actor.reason.clone(),
            details,
        };
        for attempt in 0u32.. {
            let key = rows::audit_key(actor.at, attempt);
            if self.rows.put(&key, None, &row).await?.is_some() {
                break;
            }
        }
        Ok(())
    }
}

/// Reads `orders@3`.
pub fn projection_id(row_name: &str) -> Result<ProjectionId> {
    let parsed = row_name.rsplit_once('@').and_then(|(name, version)| Some((name, version.parse().ok()?)));
    match parsed {
        Some((name, version)) => Ok(ProjectionId::new(name, version)),
        None => Err(Error::internal(format!("a stored row is named like no projection: row={row_name:?}"))),
    }
}
