//! What is left out of a run: as text, so that a command can repeat it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
    str::FromStr,
    time::Duration,
};

use crate::{
    projections::Kind,
    workload::{self, Action, Fact, Workload},
    world::Weather,
};

/// Nothing is left out of the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Less {
    /// What does not happen, by the names of the table.
    pub without: BTreeSet<String>,
    /// Only the first so many events happen.
    pub events: Option<usize>,
    /// Of these streams.
    pub streams: Option<BTreeSet<u64>>,
    pub workers: Option<usize>,
    pub projections: Option<BTreeSet<Kind>>,
}

impl Less {
    pub fn allows(&self, what: &str) -> bool {
        !self.without.contains(what)
    }

    pub fn workload(&self, mut workload: Workload) -> Workload {
        let named = self.projections.as_ref();
        // A run that has none of them keeps its own.
        if let Some(projections) =
            named.filter(|named| workload.kinds.iter().any(|kind| named.contains(kind)))
        {
            workload.kinds.retain(|kind| projections.contains(kind));
            workload.on_failure.retain(|kind, _| projections.contains(kind));
        }
        workload.failing.retain(|_, fails| self.allows(fails.name()));
        workload.garbled.retain(|_| self.allows("cannot be decoded"));
        if !self.allows("an event ends the process") {
            workload.deadly.clear();
        }
        workload.refuses = workload.refuses.filter(|_| self.allows("write refused"));
        workload.forgets &= self.allows("records forgotten");
        workload.facts.truncate(self.events.unwrap_or(usize::MAX));
        workload
            .facts
            .retain(|fact| self.streams.as_ref().is_none_or(|streams| streams.contains(&fact.stream)));
        self.leave_out_what_nobody_would_miss(&mut workload);
        let kept: BTreeSet<_> = workload.facts.iter().map(|fact| (fact.stream, fact.sequence)).collect();
        let is_kept = |fact: &Fact| kept.contains(&(fact.stream, fact.sequence));
        workload.actions.retain(|(_, action)| match action {
            Action::Store(fact) | Action::Arrive(fact) => is_kept(fact),
            Action::Fork(fact) => is_kept(fact) && self.allows("fork"),
            Action::NoEvent { stream, .. } => {
                kept.iter().any(|(kept, _)| kept == stream) && self.allows("no event")
            }
            action => action.name().is_none_or(|name| self.allows(name)),
        });
        if *self != Self::default() {
            let of_source = |(_, action): &(Duration, Action)| {
                matches!(
                    action,
                    Action::Store(_) | Action::Arrive(_) | Action::Fork(_) | Action::NoEvent { .. }
                )
            };
            let last = workload.actions.iter().rposition(of_source).map_or(0, |last| last + 1);
            workload.actions.truncate(last);
        }
        workload.handled = workload::handled(&workload.facts);
        workload
    }

    /// A stream's last event that does not arrive is missed by nobody, and so is no event of the run.
    fn leave_out_what_nobody_would_miss(&self, workload: &mut Workload) {
        let arriving = workload.actions.iter().filter_map(|(_, action)| match action {
            Action::Arrive(fact) => Some((fact.stream, fact.sequence)),
            _ => None,
        });
        let arriving: BTreeSet<_> = arriving.collect();
        let mut last: BTreeMap<u64, u64> = BTreeMap::new();
        for fact in workload.facts.iter().filter(|fact| arriving.contains(&(fact.stream, fact.sequence))) {
            last.insert(fact.stream, fact.sequence);
        }
        workload.facts.retain(|fact| last.get(&fact.stream).is_some_and(|last| fact.sequence <= *last));
    }

    pub fn weather(&self, mut weather: Weather) -> Weather {
        let lives = [
            ("crash", &mut weather.crash),
            ("crash at a call", &mut weather.crash_at_call),
            ("freeze", &mut weather.freeze),
            ("stop", &mut weather.stop),
            ("skew", &mut weather.skew),
            ("latency", &mut weather.latency),
            ("two with one id", &mut weather.twin),
            ("clock jumps", &mut weather.jump),
            ("older code", &mut weather.older),
            ("a projection less", &mut weather.fewer),
        ];
        for (name, often) in lives {
            *often = if self.allows(name) { *often } else { 0 };
        }
        weather.gone = weather.gone.filter(|_| self.allows("stores are gone"));
        weather.deploys &= self.allows("deploy");
        weather.beside &= self.allows("amended beside");
        weather.slots = self.workers.unwrap_or(weather.slots);
        weather
    }
}

fn joined(all: impl IntoIterator<Item = String>) -> String {
    all.into_iter().collect::<Vec<_>>().join(",")
}

impl Display for Less {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let without = self.without.iter().map(|what| what.replace(' ', "-"));
        let parts = [
            (
                "projections",
                self.projections.as_ref().map(|all| joined(all.iter().map(|kind| kind.name().into()))),
            ),
            ("workers", self.workers.map(|workers| workers.to_string())),
            ("events", self.events.map(|events| events.to_string())),
            ("streams", self.streams.as_ref().map(|all| joined(all.iter().map(u64::to_string)))),
            ("without", (!self.without.is_empty()).then(|| joined(without))),
        ];
        let parts = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", value?)));
        f.write_str(&parts.collect::<Vec<_>>().join(" "))
    }
}

impl FromStr for Less {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut less = Self::default();
        for part in text.split_whitespace() {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no name=value"))?;
            let number = |value: &str| value.parse::<u64>().map_err(|_| format!("`{part}`: no number"));
            let count = |value| number(value).map(|number| usize::try_from(number).unwrap_or(usize::MAX));
            let all = || value.split(',').filter(|one| !one.is_empty());
            match name {
                "projections" => {
                    let named = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
                    let found =
                        all().map(|name| named(name).ok_or_else(|| format!("no projection `{name}`")));
                    less.projections = Some(found.collect::<Result<_, _>>()?);
                }
                "workers" => less.workers = Some(count(value)?),
                "events" => less.events = Some(count(value)?),
                "streams" => less.streams = Some(all().map(number).collect::<Result<_, _>>()?),
                "without" => less.without = all().map(|what| what.replace('-', " ")).collect(),
                _ => return Err(format!("`{name}` cannot be left out")),
            }
        }
        Ok(less)
    }
}
