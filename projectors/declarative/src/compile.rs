//! From a configuration to what runs. Nothing stops at the first mistake: all of them are returned together.

mod report;
mod argument;
mod operation;
mod event_types;
mod commutative;
mod source;
mod reducer;
mod projection;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use foldstream_config::Diagnostic;
use foldstream_config::settings::{Config, Name};

use crate::decoder::MappedDecoder;
use crate::projector::DeclaredProjector;
use crate::reducer::DeclaredReducer;
use crate::upcaster::DeclaredUpcaster;
pub(crate) use operation::{arguments, kind};
use report::Report;

/// Everything of a configuration that was written as handlers, steps, upcasters and mappings, by name.
pub struct Compiled {
    /// Of each source, in the order of the file.
    pub upcasters: BTreeMap<Name, Vec<Arc<DeclaredUpcaster>>>,
    /// Of each source.
    pub decoders: BTreeMap<Name, Arc<MappedDecoder>>,
    pub reducers: BTreeMap<Name, Arc<DeclaredReducer>>,
    /// Of each projection with `handlers`.
    pub projectors: BTreeMap<Name, Arc<DeclaredProjector>>,
}

/// Compiles every expression, handler, reducer, upcaster and mapping, and checks what the orderings can keep.
///
/// An error is everything that is wrong, in the order of the file's lines.
pub fn compile(config: &Config) -> Result<Compiled, Vec<Diagnostic>> {
    let mut report = Report::new(config.file.clone());
    let mut compiled = Compiled {
        upcasters: BTreeMap::new(),
        decoders: BTreeMap::new(),
        reducers: BTreeMap::new(),
        projectors: BTreeMap::new(),
    };
    for (name, settings) in &config.sources {
        let (upcasters, decoder) =
            report.at(&format!("sources.{name}"), |report| source::compile(report, name, settings));
        compiled.upcasters.insert(name.clone(), upcasters);
        compiled.decoders.insert(name.clone(), decoder);
    }
    for (name, settings) in &config.reducers {
        let reducer =
            report.at(&format!("reducers.{name}"), |report| reducer::compile(report, config, name, settings));
        compiled.reducers.insert(name.clone(), Arc::new(reducer));
    }
    for (name, settings) in &config.projections {
        let projector = report
            .at(&format!("projections.{name}"), |report| projection::compile(report, config, name, settings));
        if let Some(projector) = projector {
            compiled.projectors.insert(name.clone(), Arc::new(projector));
        }
    }
    let found = report.into_found();
    if found.is_empty() { Ok(compiled) } else { Err(found) }
}
