use super::{Fields, Reader, check, limits, operation, projection, section, sink, source, store, test_case};
use crate::{
    settings::{CONFIG_VERSION, Config},
    yaml::Node,
};

/// The file as a whole. What could not be read is left out, so that the rest can still be checked against itself.
pub(super) fn config(reader: &mut Reader<'_>, root: &Node) -> Option<Config> {
    let mut fields = Fields::of(reader, root, "the settings of a configuration file")?;
    fields.required(reader, "config_version", config_version);
    let store = fields.optional(reader, "store", store::store);
    let sources = fields.optional(reader, "sources", |r, node| Some(section::named(r, node, source::source)));
    let sinks = fields.optional(reader, "sinks", |r, node| Some(section::named(r, node, sink::sink)));
    let reducers =
        fields.optional(reader, "reducers", |r, node| Some(section::named(r, node, operation::reducer)));
    let projections = fields
        .optional(reader, "projections", |r, node| Some(section::named(r, node, projection::projection)));
    let limits = fields.optional(reader, "limits", limits::limits);
    let tests = fields.optional(reader, "tests", |r, node| section::list(r, node, test_case::test_case));
    fields.finish(reader);

    let config = Config {
        file: reader.file.clone(),
        store: store.flatten().unwrap_or_default(),
        sources: sources.flatten().unwrap_or_default(),
        sinks: sinks.flatten().unwrap_or_default(),
        reducers: reducers.flatten().unwrap_or_default(),
        projections: projections.flatten().unwrap_or_default(),
        limits: limits.flatten().unwrap_or_default(),
        tests: tests.flatten().unwrap_or_default(),
    };
    check::references(reader, &config, root);
    Some(config)
}

fn config_version(reader: &mut Reader<'_>, node: &Node) -> Option<()> {
    let version = reader.integer(node, 0..=u64::MAX)?;
    let supported = u64::from(CONFIG_VERSION);
    if version != supported {
        let message = format!("config_version {version} is not supported; this binary reads {supported}");
        let newer = "the file was written for a newer foldstream: update the binary";
        reader.error(
            node.place,
            message,
            if version > supported { newer } else { "write `config_version: 1`" },
        );
    }
    Some(())
}
