//! Reducers.

use foldstream_config::settings::{self, Config, Name, Source};

use super::report::Report;
use crate::expression::{Names, Root};
use crate::reducer::{DeclaredReducer, Step};

pub(super) fn compile(
    report: &mut Report,
    config: &Config,
    name: &Name,
    reducer: &settings::Reducer,
) -> DeclaredReducer {
    let sources: Vec<&Source> = config
        .projections
        .values()
        .filter(|projection| projection.reducer.as_ref().is_some_and(|used| used.value == *name))
        .filter_map(|projection| config.sources.get(&projection.source.value))
        .collect();
    let names = Names::only(&[Root::Event, Root::Payload, Root::Before], "`include` alone looks at items")
        .without(Root::State, "it is what this reducer makes; the state before the event is `before`")
        .without(Root::Document, "a reducer folds a stream and knows no documents");
    let mut steps = Vec::with_capacity(reducer.steps.len());
    for (index, step) in reducer.steps.iter().enumerate() {
        steps.push(report.at(&format!("[{index}]"), |report| {
            let types = report.event_types(&step.events, &sources);
            let label = report.label(&format!("reducer={name}"), "step", step.place);
            (types, Step { label, effect: report.effect(&step.operations, &names) })
        }));
    }
    DeclaredReducer::new(steps)
}
