use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use foldstream_aws::change::{ChangeDecoder, OnChange};
use foldstream_config::{
    Config,
    settings::{
        self, Limits, Name, OnModify, OnRemove, OnUnknownType, Projection, Projector as Declared, SourceKind,
    },
};
use foldstream_declarative::{Compiled, Definition};
use foldstream_local::{LocalLog, LogDescription, LogOptions};
use foldstream_model::{
    Clock, Error, Event, EventType, Ids, OnFailure, Ordering, PayloadReads, ProjectionId, Record, Result,
    Sequence, SourceName,
    ports::{Decoder, Projector, Reducer, Upcaster},
};
use foldstream_runtime::{
    assembly::{NamedReducer, ProjectionSpec, Services, SourceSpec, Start},
    order::Gaps,
    settings::Settings,
    upcast::{OnNewerSchema, Upcasts},
    worker::Assembly,
};

use crate::{natives, stores::Stores};

/// What a worker runs, and the embedded logs that must be filled for it.
pub struct Line {
    pub assembly: Assembly,
    /// By the names of the embedded streams.
    pub logs: BTreeMap<String, LocalLog>,
}

/// Puts a worker together over its stores; makes the embedded streams that are not there yet.
pub async fn assemble(
    config: &Config,
    compiled: &Compiled,
    stores: &Stores,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
) -> Result<Line> {
    let mut logs = BTreeMap::new();
    let mut sources = Vec::new();
    for (name, source) in &config.sources {
        if let SourceKind::Local { stream, shards, retention } = &source.kind.value {
            let options = LogOptions { shards: *shards, retention: *retention, recorded_in_order: true };
            let log = stores.local()?.log(stream, options).await?;
            warn_of_other_shards(stream, *shards, &log.describe().await?);
            logs.insert(stream.clone(), log);
        }
        sources.push(source_spec(name, source, compiled, stores).await?);
    }
    let projections = config.projections.iter();
    let projections =
        projections.map(|(name, projection)| projection_spec(config, compiled, stores, name, projection));
    let assembly = Assembly {
        services: Services {
            checkpoints: stores.checkpoints(),
            parking: stores.parking(),
            leases: stores.leases(),
            clock,
            ids,
        },
        sources,
        projections: projections.collect::<Result<_>>()?,
        settings: settings(&config.limits),
        dead: BTreeSet::new(),
        process: std::process::id(),
    };
    Ok(Line { assembly, logs })
}

/// The shards of a stream are those that it was made with.
fn warn_of_other_shards(stream: &str, configured: u32, log: &LogDescription) {
    let open = log.shards.iter().filter(|shard| shard.closed_at.is_none()).count();
    if open != configured as usize {
        tracing::warn!(
            stream,
            shards = open,
            configured,
            "`shards` counts only when a stream is made, and this one keeps those that it has; write their number, or name a new `stream` under a new source and raise the versions of its projections"
        );
    }
}

async fn source_spec(
    name: &Name,
    source: &settings::Source,
    compiled: &Compiled,
    stores: &Stores,
) -> Result<SourceSpec> {
    let types = source.types.as_ref();
    let sequence = source.event.sequence.as_ref();
    let items = items(name, compiled)?;
    let missing = || Error::internal(format!("a stream is not there that was made just now: source={name}"));
    Ok(SourceSpec {
        name: SourceName::new(name.as_str()),
        source: stores.source(name, source).await?.ok_or_else(missing)?,
        decoder: decoder(source, items.clone()),
        upcasters: upcasters(compiled, name),
        events: stores.events(source, items).await?,
        redacts: source.on_modify.value == OnModify::Redact,
        first: Sequence(sequence.map_or(1, |sequence| sequence.first)),
        gaps: match sequence.map(|sequence| sequence.gaps) {
            Some(settings::Gaps::Allow) => Gaps::Allow,
            Some(settings::Gaps::Refuse) | None => Gaps::Refuse,
        },
        start: match source.start.value {
            settings::Start::TrimHorizon => Start::TrimHorizon,
            settings::Start::Latest => Start::Latest,
            settings::Start::AtTimestamp(timestamp) => Start::AtTimestamp(timestamp),
            settings::Start::LeaseTable => Start::LeaseTable,
        },
        on_newer_schema: on_newer_schema(source),
        types: types.map(|types| types.iter().map(|known| EventType::new(known.value.as_str())).collect()),
    })
}

/// Records of an embedded stream are envelopes: its mapping is for what is imported.
fn decoder(source: &settings::Source, items: Arc<dyn Decoder>) -> Arc<dyn Decoder> {
    if matches!(source.kind.value, SourceKind::Local { .. }) {
        return Arc::new(Envelopes);
    }
    let on_modify = match source.on_modify.value {
        // Who folds the stream again finds it redacted.
        OnModify::Ignore | OnModify::Redact => OnChange::Ignore,
        OnModify::Park => OnChange::Park,
    };
    let on_remove = match source.on_remove.value {
        OnRemove::Ignore => OnChange::Ignore,
        OnRemove::Park => OnChange::Park,
    };
    Arc::new(ChangeDecoder::new(items, on_modify, on_remove))
}

/// Reads what a source's mapping is of: an item, or a line, in plain JSON.
pub fn items(source: &Name, compiled: &Compiled) -> Result<Arc<dyn Decoder>> {
    let found = compiled.decoders.get(source).map(|decoder| Arc::clone(decoder) as Arc<dyn Decoder>);
    found.ok_or_else(|| Error::internal(format!("a source without a mapping: source={source}")))
}

/// What lifts the events of a source, and what becomes of those that are newer.
pub fn upcasts(source: &settings::Source, compiled: &Compiled, name: &Name) -> Upcasts {
    Upcasts::new(&upcasters(compiled, name), on_newer_schema(source))
}

fn upcasters(compiled: &Compiled, source: &Name) -> Vec<Arc<dyn Upcaster>> {
    let declared = compiled.upcasters.get(source).into_iter().flatten();
    declared.map(|upcaster| Arc::clone(upcaster) as Arc<dyn Upcaster>).collect()
}

fn on_newer_schema(source: &settings::Source) -> OnNewerSchema {
    match source.on_newer_schema.value {
        settings::OnNewerSchema::Wait => OnNewerSchema::Wait,
        settings::OnNewerSchema::Park => OnNewerSchema::Park,
        settings::OnNewerSchema::Ignore => OnNewerSchema::Ignore,
    }
}

struct Envelopes;

impl Decoder for Envelopes {
    fn decode(&self, record: &Record, reads: &dyn PayloadReads) -> Result<Option<Event>> {
        Event::read_envelope(&record.data, reads).map(Some)
    }
}

fn projection_spec(
    config: &Config,
    compiled: &Compiled,
    stores: &Stores,
    name: &Name,
    projection: &Projection,
) -> Result<ProjectionSpec> {
    let (projector, code_id) = projector(compiled, name, projection)?;
    let definition = Definition::of(config, projection, code_id);
    let reducer =
        projection.reducer.as_ref().and_then(|reducer| compiled.reducers.get_key_value(&reducer.value));
    Ok(ProjectionSpec {
        id: ProjectionId::new(name, projection.version.value),
        source: SourceName::new(projection.source.value.as_str()),
        ordering: match projection.ordering.value {
            settings::Ordering::PerStream => Ordering::PerStream,
            settings::Ordering::Commutative => Ordering::Commutative,
            settings::Ordering::Global => Ordering::Global,
        },
        projector,
        reducer: reducer.map(|(name, reducer)| NamedReducer {
            name: name.as_str().into(),
            reducer: Arc::clone(reducer) as Arc<dyn Reducer>,
        }),
        known_types: known_types(config, projection),
        on_failure: match projection.on_failure.value {
            settings::OnFailure::Stop => OnFailure::Stop,
            settings::OnFailure::Park => OnFailure::Park,
            settings::OnFailure::Discard => OnFailure::Discard,
        },
        documents: stores.documents(&ProjectionId::new(name, projection.version.value))?,
        fingerprint: definition.fingerprint(),
        definition: definition.to_text(),
        allowed_lateness: projection.allowed_lateness,
    })
}

/// None: types that nobody knows are ignored.
pub fn known_types(config: &Config, projection: &Projection) -> Option<BTreeSet<EventType>> {
    let source = config.sources.get(projection.source.value.as_str())?;
    let known = source.types.as_ref().filter(|_| source.on_unknown_type.value == OnUnknownType::Park)?;
    Some(known.iter().map(|known| EventType::new(known.value.as_str())).collect())
}

/// The code of a projection, and what stands for it in its definition where it is not declared.
pub fn projector(
    compiled: &Compiled,
    name: &Name,
    projection: &Projection,
) -> Result<(Arc<dyn Projector>, Option<&'static str>)> {
    let unavailable =
        || Error::invalid(format!("projection={name}: its projector is not available in this version"));
    match &projection.projector {
        Declared::Declared(_) => match compiled.projectors.get(name) {
            Some(projector) => Ok((Arc::clone(projector) as Arc<dyn Projector>, None)),
            None => Err(unavailable()),
        },
        Declared::Native { name: native, .. } => match natives::find(&native.value) {
            Some(native) => Ok((native.projector, Some(native.code_id))),
            None => Err(unavailable()),
        },
        Declared::Wasm(_) => Err(unavailable()),
    }
}

fn settings(limits: &Limits) -> Settings {
    let bytes = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Settings {
        lanes: limits.lanes as usize,
        batch_records: limits.batch_records as usize,
        bytes_in_flight: bytes(limits.bytes_in_flight),
        read_ahead_bytes: bytes(limits.read_ahead_bytes),
        early_bytes: bytes(limits.early_bytes),
        flush_interval: limits.flush_interval,
        flush_documents: limits.flush_documents as usize,
        cache_bytes: bytes(limits.cache_bytes),
        checkpoint_interval: limits.checkpoint_interval,
        poll_interval: limits.poll_interval,
        parked_events: limits.parked_events as usize,
        ..Settings::default()
    }
}
