//! Redriving: what waits in the lot of a projection is applied by its newest definition, document by document. Whoever
//! may write the documents can do it, beside any worker.

use std::{collections::BTreeSet, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use foldstream_model::{
    Document, DocumentKey, Epoch, Error, ErrorKind, Event, Guard, Lot, Mark, MarkNumber, ParkedEvent, Result,
    ports::{Change, DocumentWrite, ParkingLot, RowKey, StateCarried, StoredDocument, Touch, Written},
};
use tokio_util::sync::CancellationToken;

use crate::{
    assembly::{ProjectionSpec, Services, SourceSpec},
    control::Actor,
    decode::Intake,
    guard::{Judge, Judgement},
    parking::{self, Ended, Redrive, Step, Waiting},
    patient::Patient,
    pure, retry,
    rows::{self, DiscardRow, Rows},
    write::record_late,
};

/// Events that are applied together.
const PAGE: usize = 100;
/// Before a write whose outcome nobody knows is read back.
const PAUSE: Duration = Duration::from_millis(100);

/// What redrives the documents of one projection.
pub struct Redriver {
    spec: ProjectionSpec,
    lot: Lot,
    parking: Arc<dyn ParkingLot>,
    rows: Rows,
    intake: Intake,
    /// Events a second at most.
    rate: Option<NonZeroU32>,
}

impl Redriver {
    pub fn new(
        source: &SourceSpec,
        spec: ProjectionSpec,
        epoch: Epoch,
        services: &Services,
        rate: Option<NonZeroU32>,
    ) -> Self {
        Self {
            intake: Intake::new(source, std::slice::from_ref(&spec)),
            lot: Lot { projection: spec.id.clone(), epoch },
            spec,
            parking: Arc::new(Patient(services.parking.clone())),
            rows: Rows::new(Arc::new(Patient(services.checkpoints.clone()))),
            rate,
        }
    }

    /// Applies the parked events of a document in order, up to the first that it cannot take. Safe to be dropped and
    /// begun again at any point, and while events arrive.
    pub async fn redrive(&self, document: &DocumentKey) -> Result<Ended> {
        self.run(document, false).await
    }

    /// Records these events of a document as discarded, and takes those of them out of the lot that stand before all
    /// others; the others leave it with the redrive of what they stand behind. Those that were redriven meanwhile are not
    /// discarded.
    pub async fn discard(
        &self,
        document: &DocumentKey,
        events: &[ParkedEvent],
        actor: &Actor,
    ) -> Result<Ended> {
        for event in events {
            let key = rows::discard_key(&self.lot, document, &event.order);
            let (who, reason) = (actor.who.clone(), actor.reason.clone());
            let row = DiscardRow { event: event.clone(), who, reason, at: actor.at };
            // A row that is there already was recorded by whoever discarded the event before.
            self.rows.put(&key, None, &row).await?;
        }
        let guard = self.outdate(document).await?;
        for event in events {
            if self.has(document, guard.as_ref(), event)? {
                let key = rows::discard_key(&self.lot, document, &event.order);
                self.rows.delete(&key).await?;
            }
        }
        self.run(document, true).await
    }

    /// Changes the guard of a parked document, so that no redrive goes on that has listed its events before. The guard
    /// then; none if the document is not parked any more.
    async fn outdate(&self, document: &DocumentKey) -> Result<Option<Guard>> {
        loop {
            let Some(stored) = self.read(document).await? else { return Ok(None) };
            let Some(Mark::Set(MarkNumber(number))) = stored.guard.mark else {
                return Ok(Some(stored.guard));
            };
            let write = parking::remarked(document, stored, Mark::Set(MarkNumber(number.saturating_add(1))));
            let guard = write.put.guard.clone();
            if let Some(Written::Done) = self.written(write).await? {
                return Ok(Some(guard));
            }
        }
    }

    /// Whether the event is in the document.
    fn has(&self, document: &DocumentKey, guard: Option<&Guard>, parked: &ParkedEvent) -> Result<bool> {
        let event = Event::from_envelope(&Bytes::from(parked.event.clone().into_bytes()))?;
        let judge = Judge::new(document, self.spec.ordering, self.lot.epoch, guard)?;
        Ok(judge.judge(&parking::origin_of(parked, &event)).is_ok_and(|judged| judged != Judgement::Apply))
    }

    async fn run(&self, document: &DocumentKey, only_discarded: bool) -> Result<Ended> {
        let mut redrive = Redrive::new(document.clone(), self.spec.ordering, self.lot.epoch, only_discarded);
        loop {
            match redrive.step() {
                Step::List => redrive.listed(self.waiting(document).await?),
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
                    self.pause(orders.len()).await;
                }
                Step::Close(mark) => {
                    let close = || self.parking.close(&self.lot, document, mark);
                    let closed =
                        retry::until_done(&CancellationToken::new(), "closing a mark", close).await?;
                    redrive.closed(closed);
                }
                Step::Ended(ended) => return Ok(ended),
            }
        }
    }

    async fn waiting(&self, document: &DocumentKey) -> Result<Vec<Waiting>> {
        let most = self.rate.map_or(PAGE, |rate| PAGE.min(rate.get() as usize));
        let page = self.parking.list(&self.lot, Some(document), None, most).await?;
        let discarded = self.rows.discarded(&self.lot, document).await?;
        let mut waiting = Vec::with_capacity(page.events.len());
        for parked in page.events {
            waiting.push(self.prepare(parked, &discarded)?);
        }
        Ok(waiting)
    }

    fn prepare(&self, parked: ParkedEvent, discarded: &BTreeSet<RowKey>) -> Result<Waiting> {
        let key = rows::discard_key(&self.lot, &parked.document, &parked.order);
        let is_discarded = discarded.contains(&key);
        let event = Event::from_envelope(&Bytes::from(parked.event.clone().into_bytes()))?;
        let origin = parking::origin_of(&parked, &event);
        let change: Box<dyn Change> = match is_discarded {
            true => nothing(),
            false => self.change(&parked, event)?,
        };
        let touch = Touch { key: parked.document, change };
        Ok(Waiting { order: parked.order, origin, touch, is_discarded })
    }

    /// What the event does to its document by now; nothing if it no longer touches it.
    fn change(&self, parked: &ParkedEvent, mut event: Event) -> Result<Box<dyn Change>> {
        let mut touches = Vec::new();
        let touched = self.intake.prepare(&mut event).and_then(|()| {
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
        let found = retry::until_done(&CancellationToken::new(), "reading a document", read).await?;
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

    async fn pause(&self, events: usize) {
        if let Some(rate) = self.rate {
            tokio::time::sleep(
                Duration::from_secs(1) * u32::try_from(events).unwrap_or(u32::MAX) / rate.get(),
            )
            .await;
        }
    }
}

/// The change that leaves the document as it is.
fn nothing() -> Box<dyn Change> {
    Box::new(|_: &mut Option<Document>| Ok(()))
}
