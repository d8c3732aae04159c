//! upcast: old schema → new, one version at a time, until no upcaster matches.

use std::{collections::BTreeMap, sync::Arc};

use foldstream_model::{Event, EventType, Result, SchemaVersion, Value, ports::Upcaster};

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

    /// Lifts the payload as far as it goes. `schema_version` stays that of the stored event, as its raw bytes do.
    pub fn lift(&self, event: &mut Event) -> Result<()> {
        let Some(steps) = self.by_type.get(&event.event_type) else { return Ok(()) };
        let mut version = event.schema_version;
        while let Some(step) = steps.get(&version) {
            let payload = std::mem::replace(&mut event.payload.value, Value::Null);
            event.payload.value = step.upcast(payload)?;
            version = SchemaVersion(version.0 + 1);
        }
        Ok(())
    }
}
