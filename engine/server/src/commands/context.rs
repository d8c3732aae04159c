use std::{fs, io, os::unix::fs::MetadataExt, sync::Arc};

use foldstream_config::{
    Config, Diagnostic, SourceFile,
    diagnostic::nearest,
    settings::{Name, Source, SourceKind},
};
use foldstream_local::{FILE_NAME, LocalStore, OpenOptions};
use foldstream_model::{
    Clock, Ids, ProjectionId,
    ports::{EventStore, Table},
};
use foldstream_runtime::retry;

use crate::{
    cli::{ByProjection, Global},
    clock::{SystemClock, UniqueIds},
    compose,
    exit::{Failure, Outcome},
    import::Rehearsal,
    output::{Output, plural},
    stores::{self, Opening, Stores, TableEvents},
};

const READ: OpenOptions = OpenOptions { create: false, read_only: true };
const CREATE: OpenOptions = OpenOptions { create: true, read_only: false };

/// The partition of the rows of what is registered.
const CONTROLS: &str = "projections";
/// More versions of projections than any store holds.
const MAX_PROJECTIONS: usize = 10_000;

/// Where events are appended.
pub struct AppendTo {
    pub events: Arc<dyn EventStore>,
    /// An event table, which takes less at once.
    pub is_table: bool,
}

/// What every command has at hand.
pub struct Context {
    pub global: Global,
    pub output: Output,
    pub clock: Arc<dyn Clock>,
    pub ids: Arc<dyn Ids>,
}

impl Context {
    pub fn new(global: Global) -> Self {
        let output = Output::new(global.output);
        Self { global, output, clock: Arc::new(SystemClock), ids: Arc::new(UniqueIds) }
    }

    /// The stores of the configuration, or of `--data` where there is none, to look into them.
    pub async fn stores_to_read(&self) -> Outcome<Stores> {
        self.stores(self.config_if_any().as_ref(), READ).await
    }

    /// The same, to change what is in them.
    pub async fn stores_to_change(&self) -> Outcome<Stores> {
        self.stores(self.config_if_any().as_ref(), OpenOptions::default()).await
    }

    /// The stores of a configuration; what is not there is made. Waits for a service that is busy or does not answer.
    pub async fn stores_or_new(&self, config: &Config) -> Outcome<Stores> {
        self.patiently(config, self.opening(CREATE)).await
    }

    /// The same, as far as a relay needs them.
    pub async fn stores_to_relay(&self, config: &Config) -> Outcome<Stores> {
        self.patiently(config, Opening { leases: false, ..self.opening(CREATE) }).await
    }

    async fn patiently(&self, config: &Config, opening: Opening<'_>) -> Outcome<Stores> {
        let open = || Stores::open(Some(config), opening.clone());
        let opened = retry::until_done("opening the stores", open).await;
        opened.map_err(|error| Failure::unusable(error.to_string()))
    }

    async fn stores(&self, config: Option<&Config>, options: OpenOptions) -> Outcome<Stores> {
        let opened = Stores::open(config, self.opening(options)).await;
        opened.map_err(|error| Failure::unusable(error.to_string()))
    }

    fn opening(&self, options: OpenOptions) -> Opening<'_> {
        let (clock, ids) = (self.clock.clone(), self.ids.clone());
        let (region, profile) = (self.global.region.clone(), self.global.profile.clone());
        Opening { data: &self.global.data, region, profile, clock, ids, options, leases: true }
    }

    /// The embedded database of `--data`, to look into it.
    pub fn local_to_read(&self) -> Outcome<LocalStore> {
        self.open(READ)
    }

    /// The embedded database of `--data`, made if it is not there.
    pub fn local_or_new(&self) -> Outcome<LocalStore> {
        self.open(CREATE)
    }

    /// The event table of the source that is named, or of the one that is configured; none: events are in the embedded database.
    /// Invalid: it has none, or there are several places.
    pub async fn event_table(&self, source: Option<&str>) -> Outcome<Option<Arc<TableEvents>>> {
        let config = match source {
            Some(_) => Some(self.config()?),
            None => self.config_if_any(),
        };
        let Some(config) = config else { return Ok(None) };
        let Some((name, source)) = with_event_table(&config, source)? else { return Ok(None) };
        let compiled = compose::checked(&config).map_err(|mistakes| mistaken(&mistakes))?;
        let items = compose::items(name, &compiled)?;
        let store = stores::event_table_of(source, items, self.opening(READ)).await;
        store.map_err(|error| Failure::unusable(error.to_string()))
    }

    /// Where events of a source are appended: to an event table, or to the store of `--data`, which is made if it is not there. In a
    /// dry run whatever is appended is forgotten.
    pub async fn events_to_append_to(&self, source: Option<&str>, dry_run: bool) -> Outcome<AppendTo> {
        let (stored, table): (Option<Arc<dyn EventStore>>, _) = match self.event_table(source).await? {
            Some(table) if !dry_run => return Ok(AppendTo { events: table, is_table: true }),
            None if !dry_run => {
                return Ok(AppendTo { events: self.local_or_new()?.events(), is_table: false });
            }
            Some(table) => (Some(table.clone()), Some(table)),
            None => {
                let is_there = self.global.data.join(FILE_NAME).exists();
                let local = is_there.then(|| self.local_to_read()).transpose()?;
                (local.map(|local| local.events() as Arc<dyn EventStore>), None)
            }
        };
        let is_table = table.is_some();
        let rehearsal = Rehearsal::new(stored, table, self.clock.clone(), self.ids.clone())?;
        Ok(AppendTo { events: Arc::new(rehearsal), is_table })
    }

    fn open(&self, options: OpenOptions) -> Outcome<LocalStore> {
        let opened = LocalStore::open(&self.global.data, self.clock.clone(), self.ids.clone(), options);
        opened.map_err(|error| Failure::unusable(error.to_string()))
    }

    /// The configuration, if it has no mistake in it.
    pub fn config(&self) -> Outcome<Config> {
        match self.read_config()? {
            Ok(config) => Ok(config),
            Err(mistakes) => Err(mistaken(&mistakes)),
        }
    }

    /// The configuration, for commands that can do without; none when there is no file or it has mistakes.
    pub fn config_if_any(&self) -> Option<Config> {
        if !self.global.config.exists() {
            return None;
        }
        let config = self.read_config().ok()?.ok();
        if config.is_none() {
            tracing::warn!(file = %self.global.config.display(), "the configuration has mistakes and is left aside; `foldstream validate` shows them");
        }
        config
    }

    /// The configuration, or everything that is wrong with it. A failure: the file cannot be read at all.
    pub fn read_config(&self) -> Outcome<Result<Config, Vec<Diagnostic>>> {
        let path = &self.global.config;
        let text = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Failure::invalid(format!(
                "there is no {}: name the file with --config, or write one with `foldstream init --from FILE`",
                path.display()
            )),
            _ => Failure::file(path, &error),
        })?;
        let name = path.display().to_string();
        match String::from_utf8(text) {
            Ok(text) => Ok(Config::read(&name, &text, &|name| std::env::var(name).ok())),
            Err(error) => {
                let readable = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let line = readable.lines().take_while(|line| !line.contains('\u{fffd}')).count() + 1;
                let place = foldstream_config::Place::new(u32::try_from(line).unwrap_or(u32::MAX), 1);
                Ok(Err(vec![SourceFile::new(&name, &readable).error(place, "", "the file is not UTF-8")]))
            }
        }
    }

    /// The read model that is meant by a projection's name: the version asked for, else the configured one, else the
    /// highest in the store.
    pub async fn projection(&self, wanted: &ByProjection, store: &Stores) -> Outcome<ProjectionId> {
        let stored = stored_projections(store).await?;
        let config = self.config_if_any();
        let configured = config.iter().flat_map(|config| &config.projections);
        let configured: Vec<_> =
            configured.map(|(name, projection)| ProjectionId::new(name, projection.version.value)).collect();
        let mut candidates = configured.iter().chain(stored.iter().rev());
        match candidates.find(|projection| wanted.includes(projection)) {
            Some(projection) => Ok(projection.clone()),
            None => Err(unknown(wanted, configured.iter().chain(&stored))),
        }
    }
}

/// The source whose events are meant, if they are in an event table.
fn with_event_table<'c>(config: &'c Config, named: Option<&str>) -> Outcome<Option<(&'c Name, &'c Source)>> {
    if let Some(name) = named {
        let Some((name, source)) = config.sources.get_key_value(name) else {
            return Err(Failure::invalid(format!("the configuration has no source {name}")));
        };
        return match &source.kind.value {
            SourceKind::Local { .. } => Ok(None),
            kind if kind.event_table().is_some() => Ok(Some((name, source))),
            _ => Err(Failure::invalid(format!(
                "the source {name} has no event table, so its events cannot be asked for; name it with `event_table`"
            ))),
        };
    }
    let is_local = |source: &Source| matches!(source.kind.value, SourceKind::Local { .. });
    let with_table = |(_, source): &(&Name, &Source)| source.kind.value.event_table().is_some();
    let tables: Vec<_> = config.sources.iter().filter(with_table).collect();
    let local = config.sources.iter().find(|(_, source)| is_local(source));
    match (&tables[..], local) {
        ([], _) => Ok(None),
        ([one], None) => Ok(Some(*one)),
        _ => {
            let names: Vec<_> = tables.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.into_iter().chain(local.map(|(name, _)| name.as_str()));
            let names = names.collect::<Vec<_>>().join(", ");
            Err(Failure::invalid(format!(
                "the configuration has several sources that keep their events in other places: {names}; name one with --source"
            )))
        }
    }
}

/// Everything that is wrong with a file, as the reason why a command cannot go on.
pub fn mistaken(mistakes: &[Diagnostic]) -> Failure {
    let shown: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    let count = plural(mistakes.len() as u64, "mistake");
    Failure::invalid(format!("{count} in the configuration\n\n{}", shown.join("\n\n")))
}

/// Who does what is audited, as far as the environment tells.
pub fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    user.or_else(|| Some(format!("uid {}", fs::metadata("/proc/self").ok()?.uid())))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// The projections that the store knows, by name, then version.
pub async fn stored_projections(store: &Stores) -> Outcome<Vec<ProjectionId>> {
    let rows = store.checkpoints().list(Table::Controls, CONTROLS, None, MAX_PROJECTIONS).await?;
    let mut projections: Vec<_> = rows.iter().filter_map(|row| projection_of(&row.key.sort)).collect();
    projections.sort();
    Ok(projections)
}

/// Reads what [`ProjectionId::row_name`] wrote.
fn projection_of(row_name: &str) -> Option<ProjectionId> {
    let (name, version) = row_name.rsplit_once('@')?;
    Some(ProjectionId::new(name, version.parse().ok()?))
}

fn unknown<'a>(wanted: &ByProjection, known: impl Iterator<Item = &'a ProjectionId>) -> Failure {
    let mut names: Vec<_> = known.map(ProjectionId::row_name).collect();
    names.sort();
    names.dedup();
    let written = wanted.to_string();
    let bare = names.iter().map(|name| name.split('@').next().unwrap_or(name));
    let hint = match nearest(&written, bare.chain(names.iter().map(String::as_str))) {
        Some(name) => format!("did you mean {name}?"),
        None if names.is_empty() => "there are none yet: `foldstream run` makes them".to_owned(),
        None => format!("there are {}", names.join(", ")),
    };
    Failure::failed(format!("there is no projection {written}; {hint}"))
}
