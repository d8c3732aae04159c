//! Which field names the streams, and which one counts their events: each is evidence for the other.

use std::collections::BTreeMap;

use foldstream_model::Path;

use super::{
    Unclear,
    choice::{self, Candidate},
    column::Column,
    mapping::{Guess, Making, count},
    name,
    numbering::{self, Kept, Numbering},
    part::Part,
};

/// The score of a field that needs no rival from inside the payload.
const CONVINCING: i32 = 50;

/// Fewer steps of one are found in any field by chance.
const ENOUGH_STEPS: usize = 4;

impl<'c> Making<'c> {
    pub fn stream_and_sequence(&mut self) {
        let columns = self.columns;
        let numbered = if self.wanted(Part::StreamId) {
            let mut streams = self.streams(&|path| self.is_outside(path), 0);
            if streams.iter().all(|stream| stream.score < CONVINCING) {
                streams.extend(self.streams(&|path| self.is_free(path) && self.is_in_payload(path), -10));
            }
            if streams.is_empty() {
                streams = self.streams_by_numbers();
            }
            choice::sort(&mut streams);
            let Some((path, column)) = self.settle(Part::StreamId, &streams) else {
                return self
                    .missing(Part::StreamId, "no field looks like the id of a stream (of an aggregate)");
            };
            self.refuse_shared_ids(path, column);
            let mut why =
                format!("{} in {}", count(column.distinct(), "stream"), count(column.values.len(), "event"));
            let strip_prefix = column.common_prefix();
            if let Some(prefix) = &strip_prefix {
                why = format!("{why}; all begin with {prefix:?}");
            }
            self.parts.insert(Part::StreamId, Guess { strip_prefix, ..Guess::new(path, why) });
            Some(column)
        } else {
            let path = self.parts.get(&Part::StreamId).and_then(|guess| guess.path.as_ref());
            path.and_then(|path| columns.get(path))
        };
        if let Some(stream) = numbered {
            self.sequence(stream);
        }
    }

    fn streams(&self, is_free: &dyn Fn(&Path) -> bool, handicap: i32) -> Vec<Candidate<'c>> {
        let mut found = choice::candidates(self.columns, Part::StreamId, is_free);
        found.retain(|stream| self.columns.covers(stream.column, 80) && stream.column.texts().is_some());
        for stream in &mut found {
            stream.score = self.stream_score(stream) + handicap;
        }
        found
    }

    /// Fields without a telling name whose streams another field counts.
    fn streams_by_numbers(&self) -> Vec<Candidate<'c>> {
        let mut found = choice::nameless(self.columns, &|path| self.is_outside(path));
        found.retain(|stream| {
            let is_shared = stream.column.distinct() < stream.column.values.len();
            let is_numbered = || !self.numberings(stream.path, stream.column).is_empty();
            is_shared && stream.column.texts().is_some() && is_numbered()
        });
        found
    }

    /// Its name, how well it divides the events, and whether the types speak of it: `OrderPlaced` of
    /// `orderId`.
    fn stream_score(&self, stream: &Candidate<'_>) -> i32 {
        let (distinct, all) = (stream.column.distinct(), stream.column.values.len());
        let division = match distinct == all {
            true if all >= 5 => -10,
            true => 0,
            false => 10,
        };
        let stem = name::words(stream.path.names().last().map_or("", |name| name)).into_iter().next();
        let of_types = stem.is_some_and(|stem| self.types_begin_with(&stem));
        let numbered =
            self.numberings(stream.path, stream.column).first().map_or(0, |(_, numbering)| numbering.score);
        stream.score + division + if of_types { 15 } else { 0 } + numbered
    }

    fn types_begin_with(&self, word: &str) -> bool {
        let path = self.parts.get(&Part::Type).and_then(|guess| guess.path.as_ref());
        let Some(types) = path.and_then(|path| self.columns.get(path)).and_then(Column::texts) else {
            return false;
        };
        let begin = types.iter().filter(|(_, name)| name::words(name).iter().any(|one| one == word)).count();
        begin * 2 > types.len()
    }

    /// The fields that can be the sequence of these streams, the best first.
    fn numberings(&self, stream_path: &Path, stream: &Column) -> Vec<(Candidate<'c>, Numbering)> {
        let mut found: Vec<_> = choice::candidates(self.columns, Part::Sequence, &|path| self.is_free(path))
            .into_iter()
            .filter(|candidate| candidate.path != stream_path && self.columns.covers(candidate.column, 80))
            .filter_map(|candidate| Some((numbering::judge(stream, candidate.column)?, candidate)))
            .filter(|(numbering, candidate)| {
                let known = candidate.score > name::RESEMBLES && !self.is_in_payload(candidate.path);
                known || (numbering.score >= 60 && candidate.score >= name::RESEMBLES - 5)
            })
            .map(|(numbering, candidate)| (candidate, numbering))
            .collect();
        if found.is_empty() {
            found = self.numberings_by_value(stream_path, stream);
        }
        found.sort_by_key(|(candidate, numbering)| -(candidate.score + numbering.score));
        found
    }

    /// Fields without a telling name that count the events of these streams all the same. In a single stream
    /// any number that counts everything would.
    fn numberings_by_value(&self, stream_path: &Path, stream: &Column) -> Vec<(Candidate<'c>, Numbering)> {
        if stream.distinct() < 2 {
            return Vec::new();
        }
        let others = choice::nameless(self.columns, &|path| self.is_outside(path) && path != stream_path);
        let judged = others.into_iter().filter_map(|other| {
            let numbering = numbering::judge(stream, other.column)?;
            (numbering.score >= 60 && numbering.steps >= ENOUGH_STEPS).then_some((other, numbering))
        });
        judged.collect()
    }

    fn sequence(&mut self, stream: &'c Column) {
        if !self.wanted(Part::Sequence) {
            return self.measure_given_sequence(stream);
        }
        let stream_path = self.parts.get(&Part::StreamId).and_then(|guess| guess.path.clone());
        let Some(stream_path) = stream_path else { return };
        let found = self.numberings(&stream_path, stream);
        let Some((candidate, numbering)) = found.into_iter().next() else {
            let why =
                "no field counts the events of each stream; they are numbered in the order of the lines";
            self.absent.insert(Part::Sequence, why.to_owned());
            return;
        };
        let path = candidate.path;
        match numbering.kept {
            Kept::From(first) => {
                let why = format!("counts the events of each stream, from {first}");
                let guess = Guess { strip_prefix: numbering.prefix, first, ..Guess::new(path, why) };
                self.parts.insert(Part::Sequence, guess);
            }
            Kept::OnlyRises => {
                let why = format!(
                    "`{path}` leaves numbers out inside of streams; events are numbered in the order of the lines instead"
                );
                self.absent.insert(Part::Sequence, why);
            }
        }
    }

    fn measure_given_sequence(&mut self, stream: &Column) {
        let columns = self.columns;
        let Some(guess) = self.parts.get_mut(&Part::Sequence) else { return };
        let column = guess.path.as_ref().and_then(|path| columns.get(path));
        match column.and_then(|column| numbering::judge(stream, column)) {
            Some(Numbering { kept: Kept::From(first), prefix, .. }) => {
                guess.first = first;
                guess.strip_prefix = prefix;
            }
            _ => {
                let message =
                    "the field does not count the events of each stream without leaving numbers out";
                let help = "leave it out: events are then numbered in the order of the lines";
                self.unclear.push(Unclear {
                    part: Part::Sequence.name(),
                    message: format!("{message}; {help}"),
                    candidates: Vec::new(),
                });
            }
        }
    }

    /// `{ aggregateType: Order, aggregateId: 1 }` and `{ aggregateType: Customer, aggregateId: 1 }` are two
    /// streams.
    fn refuse_shared_ids(&mut self, path: &Path, streams: &Column) {
        let is_kind = |path: &Path| {
            let kinds = ["aggregatetype", "entitytype", "streamtype", "aggregatename"];
            let own = path.names().last().map(|name| name::words(name).concat()).unwrap_or_default();
            let parent =
                path.names().iter().rev().nth(1).map(|name| name::words(name).concat()).unwrap_or_default();
            kinds.contains(&own.as_str()) || kinds.contains(&format!("{parent}{own}").as_str())
        };
        for (kind_path, kinds) in self.columns.iter().filter(|(path, _)| is_kind(path)) {
            let kind_of: BTreeMap<usize, _> =
                kinds.values.iter().map(|(index, kind)| (*index, kind)).collect();
            let mut seen = BTreeMap::new();
            for (index, id) in &streams.values {
                let Some(kind) = kind_of.get(index) else { continue };
                if *seen.entry(id).or_insert(*kind) != *kind {
                    let message = format!(
                        "`{path}` alone is no stream id: the same one occurs with several values of `{kind_path}`. Join the \
                         two into one field of the sample"
                    );
                    self.unclear.push(Unclear {
                        part: Part::StreamId.name(),
                        message,
                        candidates: Vec::new(),
                    });
                    return;
                }
            }
        }
    }
}
