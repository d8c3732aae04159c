//! Upcasters and mappings of a source.

use std::sync::Arc;

use foldstream_config::settings::{Name, Source, Upcaster, UpcasterChange};
use foldstream_model::{EventType, SchemaVersion};

use super::report::Report;
use crate::decoder::MappedDecoder;
use crate::expression::{Names, Root};
use crate::upcaster::{DeclaredUpcaster, Lift};

pub(super) fn compile(
    report: &mut Report,
    name: &Name,
    source: &Source,
) -> (Vec<Arc<DeclaredUpcaster>>, Arc<MappedDecoder>) {
    let names = Names::only(&[Root::Item], "`include` looks at the raw item, before it is an event");
    let include = source
        .include
        .as_ref()
        .map(|include| report.at("include", |report| report.expression(include, &names)));
    let mut upcasters = Vec::with_capacity(source.upcasters.len());
    for (index, upcaster) in source.upcasters.iter().enumerate() {
        let step = format!("upcasters[{index}]");
        let compiled = report.at(&step, |report| compile_upcaster(report, name, source, upcaster));
        upcasters.push(Arc::new(compiled));
    }
    (upcasters, Arc::new(MappedDecoder::new(source.event.clone(), include)))
}

fn compile_upcaster(
    report: &mut Report,
    name: &Name,
    source: &Source,
    upcaster: &Upcaster,
) -> DeclaredUpcaster {
    let why_not = "an upcaster turns one payload into another, and sees nothing else";
    let names = Names::only(&[Root::Payload], why_not);
    report.event_types(std::slice::from_ref(&upcaster.event), &[source]);
    let mut changes = Vec::with_capacity(upcaster.changes.len());
    for change in &upcaster.changes {
        changes.push(match change {
            UpcasterChange::Change(change) => Lift::Change(report.change(change, &names)),
            UpcasterChange::Rename { from, to } => {
                Lift::Rename { from: from.value.clone(), to: to.value.clone() }
            }
        });
    }
    DeclaredUpcaster {
        label: report.label(&format!("source={name}"), "upcaster", upcaster.place),
        event_type: EventType::new(upcaster.event.as_str()),
        from: SchemaVersion(upcaster.from.value),
        changes,
    }
}
