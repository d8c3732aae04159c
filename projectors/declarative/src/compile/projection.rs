//! Handlers.

use foldstream_config::settings::{self, Config, Documents, Name, Ordering, Projection, Projector, Source};

use super::commutative::Commutative;
use super::report::Report;
use crate::expression::{Names, Root};
use crate::projector::{DeclaredProjector, Handler, Keys};

/// The projector of a projection with handlers; a native one is not compiled here.
pub(super) fn compile(
    report: &mut Report,
    config: &Config,
    name: &Name,
    projection: &Projection,
) -> Option<DeclaredProjector> {
    let Projector::Declared(handlers) = &projection.projector else { return None };
    let sources: Vec<&Source> = config.sources.get(&projection.source.value).into_iter().collect();
    let mut commutative = (projection.ordering.value == Ordering::Commutative).then(Commutative::default);
    let mut compiled = Vec::with_capacity(handlers.len());
    for (index, handler) in handlers.iter().enumerate() {
        report.at(&format!("handlers[{index}]"), |report| {
            let types = report.event_types(&handler.events, &sources);
            let handler_compiled = compile_handler(report, name, projection, handler);
            if let Some(commutative) = &mut commutative {
                commutative.check(report, &handler.operations, handler_compiled.effect.operations());
            }
            compiled.push((types, handler_compiled));
        });
    }
    Some(DeclaredProjector::new(compiled))
}

fn compile_handler(
    report: &mut Report,
    name: &Name,
    projection: &Projection,
    handler: &settings::Handler,
) -> Handler {
    let (key_names, names) = (key_names(projection), names(projection));
    let keys = match &handler.documents {
        Documents::One(key) => Keys::One(report.at("key", |report| report.argument(key, &key_names))),
        Documents::Many(keys) => Keys::Many(report.at("keys", |report| report.argument(keys, &key_names))),
    };
    let when = handler.when.as_ref().map(|when| report.at("when", |report| report.expression(when, &names)));
    Handler {
        label: report.label(&format!("projection={name}"), "handler", handler.place),
        when_reads_document: when.as_ref().is_some_and(|when| when.references().uses(Root::Document)),
        keys,
        when,
        effect: report.effect(&handler.operations, &names),
    }
}

/// What conditions and operations see.
fn names(projection: &Projection) -> Names {
    let roots = [Root::Event, Root::Payload, Root::Before, Root::State, Root::Document];
    let mut names = Names::only(&roots, "`include` alone looks at items; the event's data is `payload`");
    if projection.reducer.is_none() {
        let why_not = "the projection has no `reducer`";
        names = names.without(Root::Before, why_not).without(Root::State, why_not);
    }
    if projection.ordering.value == Ordering::Commutative {
        let why_not = "under `ordering: commutative` nothing may depend on what came before from other streams; use \
                       `per_stream` or `global`";
        names = names.without(Root::Document, why_not);
    }
    names
}

fn key_names(projection: &Projection) -> Names {
    names(projection).without(Root::Document, "a key says which document is meant, so it cannot read one")
}
