//! Redriving: what waits in the lot of a projection is applied by its newest definition, document by document. Whoever
//! may write the documents can do it, beside any worker.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use foldstream_model::{
    Document, DocumentKey, Epoch, Error, ErrorKind, Event, Lot, Ordering, ParkedEvent, Result,
    ports::{Change, DocumentWrite, ParkingLot, StateCarried, StoredDocument, Touch, Written},
};

use crate::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    control::Actor,
    decode::Intake,
    guard::Origin,
    parking::{self, Asked, Decision, Ended, Redrive, Step, Waiting},
    patient::Patient,
    pure, retry,
    rows::{self, Discard, DiscardRow, Rows, Versioned},
    upcast,
    write::{LateRow, record_late},
};

/// Events that are applied together.
const PAGE: usize = 100;
/// Before a write whose outcome nobody knows is read back.
const PAUSE: Duration = Duration::from_millis(100);

/// How a discard has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discarded {
    /// So many of the events have no effect, now and for ever; the others were redriven before.
    pub discarded: u64,
    /// So many events have left the lot.
    pub gone: u64,
}

/// How fast what was parked comes back: so many events a second at most, or as it comes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace(pub Option<NonZeroU32>);

impl Pace {
    /// Waits behind so many events for as long as they may take.
    pub async fn behind(self, events: u64) {
        if let Some(rate) = self.0 {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            tokio::time::sleep(Duration::from_secs(1) * events / rate.get()).await;
        }
    }
}

/// What redrives the documents of one projection.
pub struct Redriver {
    spec: ProjectionSpec,
    lot: Lot,
    parking: Arc<dyn ParkingLot>,
    rows: Rows,
    intake: Intake,
    pace: Pace,
}

impl Redriver {
    pub fn new(
        source: &SourceSpec,
        spec: ProjectionSpec,
        epoch: Epoch,
        services: &Services,
        pace: Pace,
    ) -> Self {
        Self {
            intake: Intake::new(source, std::slice::from_ref(&spec)),
            lot: Lot::of_documents(&spec.id, epoch),
            spec,
            parking: Arc::new(Patient(services.parking.clone())),
            rows: Rows::new(Arc::new(Patient(services.checkpoints.clone()))),
            pace,
        }
    }

    /// Applies the parked events of a document in order, up to the first that it cannot take. Safe to be dropped and
    /// begun again at any point, and while events arrive.
    pub async fn redrive(&self, document: &DocumentKey) -> Result<Ended> {
        self.run(document, false).await
    }

    /// Discards these events of a document, but for those that are in it already, and takes those of them out of the lot
    /// that stand before all others; the others leave it with the redrive of what they stand behind. Once begun it is on
    /// record, and the next redrive goes on with it.
    pub async fn discard(
        &self,
        document: &DocumentKey,
        events: &[ParkedEvent],
        actor: &Actor,
    ) -> Result<Discarded> {
        for event in events {
            let key = rows::discard_key(&self.lot, document, &event.order);
            let (who, reason) = (actor.who.clone(), actor.reason.clone());
            let row = DiscardRow { event: event.clone(), discard: Discard::Asked, who, reason, at: actor.at };
            // A row that is there already was recorded by whoever discarded the event before.
            self.rows.put(&key, None, &row).await?;
        }
        let gone = self.run(document, true).await?.done;
        // What is still only asked for was redriven, as the document is not parked any more.
        let leftover =
            events.iter().map(|event| Decision { order: event.order.clone(), is_discarded: false });
        self.record(document, leftover).await?;
        let mut discarded = 0;
        for event in events {
            let row = self.rows.get(&rows::discard_key(&self.lot, document, &event.order)).await?;
            let discard = row.map(|row: Versioned<DiscardRow>| row.body.discard);
            discarded += u64::from(discard == Some(Discard::Done));
        }
        Ok(Discarded { discarded, gone })
    }

    /// Writes down what was decided of discards that are only asked for.
    async fn record(
        &self,
        document: &DocumentKey,
        decisions: impl IntoIterator<Item = Decision>,
    ) -> Result<()> {
        for Decision { order, is_discarded } in decisions {
            let key = rows::discard_key(&self.lot, document, &order);
            let Some(row) = self.rows.get::<DiscardRow>(&key).await? else { continue };
            if row.body.discard == Discard::Asked {
                let discard = if is_discarded { Discard::Done } else { Discard::TooLate };
                // Whoever was faster has decided the same.
                self.rows.put(&key, Some(row.revision), &DiscardRow { discard, ..row.body }).await?;
            }
        }
        Ok(())
    }

    async fn run(&self, document: &DocumentKey, only_discarded: bool) -> Result<Ended> {
        let mut redrive = Redrive::new(document.clone(), self.spec.ordering, self.lot.epoch, only_discarded);
        loop {
            match redrive.step() {
                Step::List => {
                    let (waiting, asked) = self.list(document).await?;
                    redrive.listed(waiting, asked);
                }
                Step::Decide(decisions) => {
                    self.record(document, decisions).await?;
                    redrive.decided();
                }
                Step::Read => redrive.read(self.read(document).await?),
                Step::Write(write) => match self.written(write).await? {
                    Some(written) => redrive.written(written),
                    None => redrive.unknown(),
                },
                Step::RecordLate(late) => {
                    record_late(&self.rows, &self.spec.id, &late).await?;
                    redrive.late_recorded();
                }
                Step::Remove(orders) => {
                    self.parking.remove(&self.lot, document, &orders).await?;
                    redrive.removed();
                    self.pace.behind(orders.len() as u64).await;
                }
                Step::Close(mark) => {
                    let close = || self.parking.close(&self.lot, document, mark);
                    let closed = retry::until_done("closing a mark", close).await?;
                    redrive.closed(closed);
                }
                Step::Ended(ended) => return Ok(ended),
            }
        }
    }

    async fn list(&self, document: &DocumentKey) -> Result<(Vec<Waiting>, Vec<Asked>)> {
        let most = self.pace.0.map_or(PAGE, |rate| PAGE.min(rate.get() as usize));
        let page = self.parking.list(&self.lot, Some(document), None, most).await?;
        let (mut discarded, mut asked) = (BTreeSet::new(), Vec::new());
        for Versioned { body: row, .. } in self.rows.discards(&self.lot, document).await? {
            if row.discard == Discard::Asked {
                let origin = parking::origin_of(&row.event, &event_of(&row.event)?);
                asked.push(Asked { order: row.event.order, origin });
            } else {
                discarded.insert(row.event.order);
            }
        }
        let mut waiting = Vec::with_capacity(page.events.len());
        for parked in page.events {
            let is_discarded = discarded.contains(&parked.order);
            waiting.push(self.prepare(parked, is_discarded).await?);
        }
        Ok((waiting, asked))
    }

    async fn prepare(&self, parked: ParkedEvent, is_discarded: bool) -> Result<Waiting> {
        let event = event_of(&parked)?;
        let origin = parking::origin_of(&parked, &event);
        let is_late =
            self.spec.ordering == Ordering::Global && self.is_late(&parked.document, &origin).await?;
        let change: Box<dyn Change> = match is_discarded {
            true => nothing(),
            false => self.change(&parked, event)?,
        };
        let touch = Touch { key: parked.document, change };
        Ok(Waiting { order: parked.order, origin, touch, is_discarded, is_late })
    }

    async fn is_late(&self, document: &DocumentKey, origin: &Origin) -> Result<bool> {
        let key = rows::late_key(&self.spec.id, self.lot.epoch, document, origin);
        Ok(self.rows.get::<LateRow>(&key).await?.is_some())
    }

    /// What the event does to its document by now; nothing if it no longer touches it.
    fn change(&self, parked: &ParkedEvent, mut event: Event) -> Result<Box<dyn Change>> {
        let mut touches = Vec::new();
        let touched = self.intake.prepare(&mut event).and_then(|()| {
            if !upcast::is_taken(&event)? {
                return Ok(());
            }
            let (before, state) = (parked.before.clone(), parked.state.clone());
            let carried = StateCarried { event: Arc::new(event), before, state };
            pure::guarded("the projector", || self.spec.projector.touch(&carried, &mut touches))
        });
        match touched {
            Ok(()) => {
                let of_it = touches.into_iter().find(|touch| touch.key == parked.document);
                Ok(of_it.map_or_else(nothing, |touch| touch.change))
            }
            Err(error) if error.kind() == ErrorKind::Poison => {
                Ok(Box::new(move |_: &mut Option<Document>| Err(error.clone())))
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, document: &DocumentKey) -> Result<Option<StoredDocument>> {
        let keys = [document.clone()];
        let read = || self.spec.documents.read(&self.spec.id, &keys);
        let found = retry::until_done("reading a document", read).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// How a write ended; none if nobody knows.
    async fn written(&self, write: DocumentWrite) -> Result<Option<Written>> {
        match self.spec.documents.write(&self.spec.id, vec![write]).await {
            Ok(written) => match written.into_iter().next() {
                Some(written) => Ok(Some(written)),
                None => Err(Error::internal("a write was not answered")),
            },
            Err(error) if retry::verdict(error.kind()) == retry::Verdict::Again => {
                tracing::warn!(projection = %self.spec.id, %error, "the document store failed, trying again");
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn event_of(parked: &ParkedEvent) -> Result<Event> {
    Event::from_envelope(&Bytes::from(parked.event.clone().into_bytes()))
}

/// The change that leaves the document as it is.
fn nothing() -> Box<dyn Change> {
    Box::new(|_: &mut Option<Document>| Ok(()))
}
