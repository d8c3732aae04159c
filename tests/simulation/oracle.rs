//! What the documents must be: a sequential fold of all events that knows nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::{projections::Kind, workload::Fact};

pub type Documents = BTreeMap<String, String>;

/// Events that have no effect.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// On a document: document, stream, sequence.
    pub of_documents: BTreeSet<(String, u64, u64)>,
    /// On anything, as if they had never been: stream, sequence.
    pub of_streams: BTreeSet<(u64, u64)>,
}

impl LeftOut {
    fn has(&self, fact: &Fact) -> bool {
        self.of_streams.contains(&(fact.stream, fact.sequence))
    }
}

/// The documents of a projection. What is left out came too late for the order, or was discarded.
pub fn documents(kind: Kind, facts: &[Fact], left_out: &LeftOut) -> Documents {
    let mut by_stream: Vec<&Fact> = facts.iter().collect();
    by_stream.sort_by_key(|fact| (fact.stream, fact.sequence));
    match kind {
        Kind::Collect => collect(&by_stream, left_out),
        Kind::Last => last(&by_stream, left_out),
        Kind::Sums => sums(&by_stream, left_out, |fact| {
            vec![
                "all".to_owned(),
                format!("group-{}", fact.stream % 3),
                format!("place-{}", fact.sequence % 4),
            ]
        }),
        Kind::States => states(&by_stream, left_out),
        Kind::Feed => feed(&by_stream, left_out),
    }
}

fn is_in(left_out: &LeftOut, key: &str, fact: &Fact) -> bool {
    left_out.has(fact) || left_out.of_documents.contains(&(key.to_owned(), fact.stream, fact.sequence))
}

fn collect(facts: &[&Fact], left_out: &LeftOut) -> Documents {
    let mut lists: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.n.is_some()) {
        let key = format!("s-{}", fact.stream);
        if !is_in(left_out, &key, fact) {
            lists.entry(key).or_default().push(fact.sequence.to_string());
        }
    }
    lists.into_iter().map(|(key, list)| (key, format!("{{\"sequences\":[{}]}}", list.join(",")))).collect()
}

fn last(facts: &[&Fact], left_out: &LeftOut) -> Documents {
    let mut all: BTreeMap<String, (i64, u64)> = BTreeMap::new();
    for fact in facts {
        let key = format!("s-{}", fact.stream);
        if is_in(left_out, &key, fact) {
            continue;
        }
        match fact.n {
            None => {}
            Some(n) if n < 0 => {
                all.remove(&key);
            }
            Some(n) => {
                let times = all.get(&key).map_or(0, |(_, times)| *times);
                all.insert(key, (n, times + 1));
            }
        }
    }
    all.into_iter().map(|(key, (n, times))| (key, format!("{{\"last\":{n},\"times\":{times}}}"))).collect()
}

fn sums(facts: &[&Fact], left_out: &LeftOut, keys: impl Fn(&Fact) -> Vec<String>) -> Documents {
    let mut all: BTreeMap<String, (u64, i64)> = BTreeMap::new();
    for fact in facts {
        let Some(n) = fact.n else { continue };
        for key in keys(fact).into_iter().filter(|key| !is_in(left_out, key, fact)) {
            let (events, sum) = all.entry(key).or_default();
            *events += 1;
            *sum += n;
        }
    }
    let text = |(events, sum)| format!("{{\"events\":{events},\"sum\":{sum}}}");
    all.into_iter().map(|(key, sums)| (key, text(sums))).collect()
}

fn states(facts: &[&Fact], left_out: &LeftOut) -> Documents {
    let mut by_stream: BTreeMap<u64, i64> = BTreeMap::new();
    let mut all: BTreeMap<String, (u64, i64, i64)> = BTreeMap::new();
    for fact in facts {
        let Some(n) = fact.n.filter(|_| !left_out.has(fact)) else { continue };
        let total = by_stream.entry(fact.stream).or_default();
        *total += n;
        let key = format!("group-{}", fact.stream % 3);
        if !is_in(left_out, &key, fact) {
            let (events, sum, totals) = all.entry(key).or_default();
            *events += 1;
            *sum += n;
            *totals += *total;
        }
    }
    let text = |(events, sum, totals)| format!("{{\"events\":{events},\"sum\":{sum},\"totals\":{totals}}}");
    all.into_iter().map(|(key, sums)| (key, text(sums))).collect()
}

/// In the order of recorded-at, raised to that of the stream's previous event; then stream, then sequence.
fn feed(facts: &[&Fact], left_out: &LeftOut) -> Documents {
    let mut raised: BTreeMap<u64, i64> = BTreeMap::new();
    let mut ordered = Vec::new();
    for fact in facts {
        let at = raised.entry(fact.stream).or_insert(fact.recorded_at);
        *at = fact.recorded_at.max(*at);
        ordered.push((*at, format!("s-{}", fact.stream), fact.sequence, *fact));
    }
    ordered.sort_by(|a, b| (a.0, &a.1, a.2).cmp(&(b.0, &b.1, b.2)));
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (_, stream, sequence, fact) in ordered {
        let key = format!("feed-{}", fact.stream % 2);
        let Some(n) = fact.n else { continue };
        if is_in(left_out, &key, fact) {
            continue;
        }
        if n % 11 == 0 {
            all.remove(&key);
        } else {
            all.entry(key).or_default().push(format!("\"{stream}#{sequence}\""));
        }
    }
    all.into_iter().map(|(key, list)| (key, format!("{{\"feed\":[{}]}}", list.join(",")))).collect()
}
