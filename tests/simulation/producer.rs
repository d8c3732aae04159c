//! Who puts events into the source: each into a record of its own, or several into one, as producers for Kinesis do.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use foldstream_model::{Position, ShardId, Timestamp};

use crate::{
    records,
    workload::{Action, Fact},
    world::World,
};

/// Events that come within this are put together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Holds what is to be put together.
#[derive(Default)]
pub struct Producer {
    since: Duration,
    held: Vec<Fact>,
}

impl Producer {
    /// Something else is about to happen: what came long before it is put, or what it would get in front of.
    pub fn before(&mut self, world: &World, at: Duration, action: &Action) {
        let goes_on = matches!(action, Action::Arrive(_) | Action::Store(_));
        if !goes_on || at > self.since + TOGETHER {
            self.flush(world);
        }
    }

    pub fn put(&mut self, world: &World, at: Duration, fact: &Fact) {
        let most = world.cloud.as_ref().map_or(1, |cloud| cloud.weather.aggregated);
        if self.held.is_empty() {
            self.since = at;
        }
        self.held.push(fact.clone());
        if self.held.len() >= most {
            self.flush(world);
        }
    }

    /// In one record those that go into one shard.
    pub fn flush(&mut self, world: &World) {
        let mut by_shard: BTreeMap<ShardId, Vec<Fact>> = BTreeMap::new();
        for fact in self.held.drain(..) {
            by_shard.entry(world.log.shard_of(&key(fact.stream))).or_default().push(fact);
        }
        for facts in by_shard.into_values() {
            let events: Vec<_> = facts.iter().map(Fact::event).collect();
            let data: Vec<_> = events.iter().map(|event| records::record(&world.workload, event)).collect();
            let what: Vec<_> =
                events.iter().map(|event| format!("{}#{}", event.stream_id, event.sequence)).collect();
            let whole = match &data[..] {
                [one] => one.clone(),
                _ => {
                    world.count("aggregate");
                    let parts = facts.iter().map(|fact| key(fact.stream)).zip(&data);
                    let parts: Vec<_> = parts.collect();
                    let parts: Vec<_> =
                        parts.iter().map(|(key, data)| (key.as_str(), None, data.to_vec())).collect();
                    foldstream_aws::memory::aggregate(&parts).into()
                }
            };
            let (shard, position) = put(world, facts[0].stream, whole, &what.join(" "));
            for (index, fact) in (0..).zip(&facts) {
                let at = (shard.clone(), position.clone().with_index(index));
                world.has_record(fact.stream, fact.sequence, at);
            }
        }
    }
}

fn key(stream: u64) -> String {
    format!("s-{stream}")
}

/// A record arrives.
pub fn put(world: &World, stream: u64, data: Bytes, what: &str) -> (ShardId, Position) {
    let now = i64::try_from(world.began.elapsed().as_micros()).unwrap_or(0);
    let (shard, position) = world.log.put(&key(stream), data, Timestamp::from_micros(now));
    world.saw(&format!("{what} at {shard} {position}"));
    (shard, position)
}
