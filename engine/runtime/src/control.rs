//! What operators decide about projections: registered, paused, rewound, deleted; each audited.

mod rewinding;

use std::collections::{BTreeMap, BTreeSet};

use foldstream_model::{
    Control, Epoch, Error, Generation, Lot, ProjectionId, Result, Timestamp,
    ports::{DocumentStore, ParkingLot, Table},
};

pub use rewinding::{RewindPlan, RewindTo};

use crate::{
    assembly::ProjectionSpec,
    lineage::Lineage,
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
        let store = spec.documents.open(&spec.id).await?;
        loop {
            if let Some(stored) = self.rows.control(&spec.id).await? {
                return self.compare(spec, stored.body, &store);
            }
            let lineage = self.rows.source(&spec.source).await?.map(|stored| stored.body);
            let gone = lineage.iter().flat_map(Lineage::shards).filter(|(_, known)| known.gone_at.is_some());
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
                ended: BTreeSet::new(),
                gone: gone.map(|(shard, _)| shard.clone()).collect(),
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
            let epoch = Epoch(epoch);
            for lot in [Lot::of_documents(projection, epoch), Lot::of_streams(projection, epoch)] {
                parking.clear(&lot).await?;
                self.rows.clear(Table::Discarded, &lot.row_name()).await?;
                self.rows.clear(Table::ParkedStreams, &lot.row_name()).await?;
            }
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
