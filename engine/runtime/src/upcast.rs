//! upcast: old schema → new, one version at a time, until no upcaster matches.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Event, EventType, Result, SchemaVersion, Value, ports::Upcaster};

use crate::pure;

/// The declared upcasters, by what they lift.
#[derive(Clone, Default)]
pub struct Upcasts {
    by_type: BTreeMap<EventType, BTreeMap<SchemaVersion, Arc<dyn Upcaster>>>,
}

impl Upcasts {
    pub fn new(upcasters: &[Arc<dyn Upcaster>]) -> Self {
        let mut by_type: BTreeMap<EventType, BTreeMap<_, _>> = BTreeMap::new();
        for upcaster in upcasters {
            let (event_type, from) = upcaster.lifts();
            by_type.entry(event_type.clone()).or_default().insert(from, upcaster.clone());
        }
        Self { by_type }
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

    /// The version that an event's type is lifted to, if it is lifted at all and the event is of a newer one.
    pub fn falls_short_of(&self, event: &Event) -> Option<SchemaVersion> {
        let (last, _) = self.by_type.get(&event.event_type)?.last_key_value()?;
        let newest = SchemaVersion(last.0.saturating_add(1));
        (event.schema_version > newest).then_some(newest)
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
        Upcasts::new(&[step(2), step(1)])
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
        assert_eq!(upcasts().falls_short_of(&event(4)), Some(SchemaVersion(3)));
        assert_eq!(upcasts().falls_short_of(&event(3)), None);
    }
}
