//! The types that handlers, steps and upcasters name.

use std::collections::BTreeSet;

use foldstream_config::diagnostic::nearest;
use foldstream_config::settings::{Source, Spanned};
use foldstream_model::EventType;

use super::report::Report;

impl Report {
    /// The types as a set; each must be one that some of the sources can carry.
    pub(super) fn event_types(
        &mut self,
        written: &[Spanned<String>],
        sources: &[&Source],
    ) -> BTreeSet<EventType> {
        let mut types = BTreeSet::new();
        for event_type in written {
            self.check_event_type(event_type, sources);
            if !types.insert(EventType::new(event_type.as_str())) {
                let message = format!("the event type `{}` is named twice", event_type.value);
                self.error(event_type.place, message, Some("remove one of them".to_owned()));
            }
        }
        types
    }

    fn check_event_type(&mut self, event_type: &Spanned<String>, sources: &[&Source]) {
        let mut known: Vec<&str> = Vec::new();
        for source in sources {
            let Some(types) = &source.types else { return };
            known.extend(types.iter().map(|known| known.as_str()));
        }
        if sources.is_empty() || known.contains(&event_type.as_str()) {
            return;
        }
        let help = match nearest(event_type, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add it to the `types` of the source".to_owned(),
        };
        self.error(
            event_type.place,
            format!("the source has no event type `{}`", event_type.value),
            Some(help),
        );
    }
}
