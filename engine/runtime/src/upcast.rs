//! upcast: old schema → new, one version at a time, until no upcaster matches.

use std::{collections::BTreeMap, error::Error as StdError, fmt, sync::Arc};

use foldstream_model::{Error, Event, EventType, Result, SchemaVersion, Value, ports::Upcaster};

use crate::pure;

/// What becomes of an event that is newer than the upcasters of its type lead to, whatever becomes of others that cannot be
/// taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNewerSchema {
    /// Each projection that handles it stops before it in its shard.
    Wait,
    /// Its stream is parked for each projection that handles it.
    Park,
    /// It has no effect.
    Ignore,
}

/// Marks the error of an event that is too new.
#[derive(Debug)]
struct TooNew(OnNewerSchema);

impl fmt::Display for TooNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("newer than the upcasters")
    }
}

impl StdError for TooNew {}

/// What becomes of an event that cannot be taken, if that is as it is too new, or one before it in its stream.
pub fn on_newer_schema(error: &Error) -> Option<OnNewerSchema> {
    let too_new = StdError::source(error).and_then(|source| source.downcast_ref::<TooNew>());
    too_new.map(|TooNew(on_newer)| *on_newer)
}

/// Whether those who handle an event take it: not where it is too new and such are ignored. Poison: it cannot be read.
pub fn is_taken(event: &Event) -> Result<bool> {
    match event.payload.refuse_unreadable() {
        Err(error) if on_newer_schema(&error) == Some(OnNewerSchema::Ignore) => Ok(false),
        readable => readable.map(|()| true),
    }
}

/// The declared upcasters, by what they lift.
#[derive(Clone)]
pub struct Upcasts {
    by_type: BTreeMap<EventType, BTreeMap<SchemaVersion, Arc<dyn Upcaster>>>,
    on_newer: OnNewerSchema,
}

impl Upcasts {
    pub fn new(upcasters: &[Arc<dyn Upcaster>], on_newer: OnNewerSchema) -> Self {
        let mut by_type: BTreeMap<EventType, BTreeMap<_, _>> = BTreeMap::new();
        for upcaster in upcasters {
            let (event_type, from) = upcaster.lifts();
            by_type.entry(event_type.clone()).or_default().insert(from, upcaster.clone());
        }
        Self { by_type, on_newer }
    }

    /// An event that will be lifted is parsed whole: what its upcasters read is not known field by field.
    pub fn lifts(&self, event: &Event) -> bool {
        !self.by_type.is_empty()
            && self
                .by_type
                .get(&event.event_type)
                .is_some_and(|steps| steps.contains_key(&event.schema_version))
    }

    /// Whether events of this type are lifted at any version.
    pub fn lift_type(&self, event_type: &EventType) -> bool {
        self.by_type.contains_key(event_type)
    }

    /// Poison if the event's type is lifted at all, and not as far as to the event's version.
    pub fn refuse_newer(&self, event: &Event) -> Result<()> {
        let steps = self.by_type.get(&event.event_type).and_then(BTreeMap::last_key_value);
        let newest = steps.map(|(last, _)| last.0.saturating_add(1));
        match newest.filter(|newest| event.schema_version.0 > *newest) {
            Some(newest) => Err(self.too_new(event, newest)),
            None => Ok(()),
        }
    }

    fn too_new(&self, event: &Event, newest: u32) -> Error {
        let help = match self.on_newer {
            OnNewerSchema::Wait => {
                "it waits until `upcasters` lead there: add them, and take that over with `foldstream projections amend`"
            }
            OnNewerSchema::Park => {
                "its stream waits until `upcasters` lead there: add them, take that over with `foldstream projections amend`, and let the stream come back with `foldstream parked redrive`"
            }
            OnNewerSchema::Ignore => "it is ignored",
        };
        let Event { stream_id, sequence, event_type, schema_version, .. } = event;
        let too_new = Error::poison(format!(
            "stream={stream_id} sequence={sequence} type={event_type} schema_version={} is newer than {newest}, to which the upcasters lead; {help}",
            schema_version.0
        ));
        too_new.with_source(TooNew(self.on_newer))
    }

    /// Lifts the payload as far as it goes. `schema_version` stays that of the stored event, as its raw bytes do.
    pub fn lift(&self, event: &mut Event) -> Result<()> {
        let Some(steps) = self.by_type.get(&event.event_type) else { return Ok(()) };
        let mut version = event.schema_version;
        while let Some(step) = steps.get(&version) {
            let payload = std::mem::replace(&mut event.payload.value, Value::Null);
            event.payload.value = pure::guarded("an upcaster", || step.upcast(payload))?;
            version = SchemaVersion(version.0 + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use foldstream_model::{Decimal, EventId, Payload, Sequence, StreamId, Timestamp};

    use super::*;

    /// Adds its version to a list.
    struct Step(EventType, SchemaVersion);

    impl Upcaster for Step {
        fn lifts(&self) -> (&EventType, SchemaVersion) {
            (&self.0, self.1)
        }

        fn upcast(&self, payload: Value) -> Result<Value> {
            let mut steps = payload.as_list().unwrap_or_default().to_vec();
            steps.push(Value::Number(Decimal::from(u64::from(self.1.0))));
            Ok(Value::List(Arc::new(steps)))
        }
    }

    fn event(version: u32) -> Event {
        Event {
            stream_id: StreamId::new("s"),
            sequence: Sequence(1),
            id: EventId::new("e"),
            event_type: EventType::new("Placed"),
            schema_version: SchemaVersion(version),
            recorded_at: Timestamp::EPOCH,
            effective_at: Timestamp::EPOCH,
            payload: Payload::default(),
            metadata: Payload::default(),
        }
    }

    fn upcasts() -> Upcasts {
        let step =
            |version| Arc::new(Step(EventType::new("Placed"), SchemaVersion(version))) as Arc<dyn Upcaster>;
        Upcasts::new(&[step(2), step(1)], OnNewerSchema::Park)
    }

    #[test]
    fn steps_are_chained_from_the_version_of_the_event() {
        for (version, steps) in [(1, 2), (2, 1), (3, 0)] {
            let mut lifted = event(version);
            upcasts().lift(&mut lifted).unwrap();
            assert_eq!(lifted.payload.value.as_list().map_or(0, <[Value]>::len), steps);
            assert_eq!(lifted.schema_version, SchemaVersion(version));
        }
    }

    #[test]
    fn an_event_newer_than_the_chain_is_not_taken_for_known() {
        let error = upcasts().refuse_newer(&event(4)).unwrap_err();
        assert!(error.message().contains("schema_version=4 is newer than 3"), "{error}");
        assert_eq!(on_newer_schema(&error), Some(OnNewerSchema::Park));
        upcasts().refuse_newer(&event(3)).unwrap();
    }
}
