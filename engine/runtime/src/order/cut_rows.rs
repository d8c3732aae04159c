//! Cuts as rows of the checkpoint store: pages that each fit a row of any store.
//!
//! A page's body is `{"page", "of", "since", "heads", "early", "given_up"}`; `heads` is the base64 of 32 bytes a stream:
//! hash, sequence and recorded-at in microseconds, each as big-endian words.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use foldstream_model::{
    Cut, CutId, Early, EarlyEvent, Error, GivenUp, Head, Place, Position, Result, Sequence, StreamHash,
    Timestamp,
};
use serde::{Deserialize, Serialize};

/// A page holds at least one item, and no more than fit in so many bytes: well below what a row may have.
const PAGE_BYTES: usize = 256 * 1024;

const HEAD_BYTES: usize = 32;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    page: u32,
    of: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<CutId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    heads: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    early: Vec<Early>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<GivenUp>,
}

/// What a row says of its cut, its contents aside.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Outline {
    pub page: u32,
    /// How many pages the cut has.
    pub of: u32,
    /// The cut that it adds to.
    #[serde(default)]
    pub since: Option<CutId>,
}

/// A part of a cut, as one row holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub page: u32,
    /// How many pages the cut has.
    pub of: u32,
    pub part: Cut,
}

/// The sort key of a page's row. Sorted by their bytes, keys of a chain are in the order of places, then pages.
pub fn sort_key(id: &CutId, page: u32) -> String {
    let (position, entry, ordinal) = (position_key(&id.place.position), id.place.entry, id.place.ordinal);
    format!("{}/{position}/{entry:010}/{ordinal:020}/{page:06}", id.chain)
}

/// Sorted by their bytes, these are in the order of positions.
pub fn position_key(position: &Position) -> String {
    let number = position.number();
    format!("{:03}-{number}.{:010}", number.len(), position.index())
}

/// The cut that a row of this sort key belongs to; none when it is no such key.
pub fn id_of(sort_key: &str) -> Option<CutId> {
    let mut parts = sort_key.rsplitn(5, '/');
    let (_page, ordinal, entry) = (parts.next()?, parts.next()?, parts.next()?);
    let (position, chain) = (parts.next()?, parts.next()?);
    let (number, index) = position.split_once('-')?.1.split_once('.')?;
    let position = number.parse::<Position>().ok()?.with_index(index.parse().ok()?);
    let place = Place::new(position, entry.parse().ok()?, ordinal.parse().ok()?);
    Some(CutId { chain: chain.to_owned(), place })
}

/// The sort keys and bodies of a cut's rows, each made when it is asked for. The cut is there once all of them are durable.
pub fn encode(id: &CutId, cut: &Cut) -> Result<impl Iterator<Item = Result<(String, Bytes)>>> {
    let parts = parts(cut);
    let of = number(parts.len())?;
    Ok(parts.into_iter().enumerate().map(move |(page, part)| {
        let page = number(page)?;
        let body = Body {
            page,
            of,
            since: cut.since.clone(),
            heads: encode_heads(part.heads),
            early: part.early.to_vec(),
            given_up: part.given_up.to_vec(),
        };
        let body = serde_json::to_vec(&body).map_err(|error| unwritable(&error))?;
        Ok((sort_key(id, page), body.into()))
    }))
}

/// Reads one row. Internal when it is no page of a cut.
pub fn decode(body: &[u8]) -> Result<Page> {
    let body: Body = serde_json::from_slice(body).map_err(|error| unreadable(&error))?;
    let heads = decode_heads(&body.heads)?;
    let part = Cut { since: body.since, heads, early: body.early, given_up: body.given_up };
    Ok(Page { page: body.page, of: body.of, part })
}

/// Reads of one row what it says of its cut. Internal when it is no page of one.
pub fn outline(body: &[u8]) -> Result<Outline> {
    serde_json::from_slice(body).map_err(|error| unreadable(&error))
}

/// The cut of these pages, in their order. Internal when one is missing.
pub fn join(pages: impl IntoIterator<Item = Page>) -> Result<Cut> {
    let mut cut = Cut::default();
    let (mut joined, mut expected) = (0, 1);
    for page in pages {
        expected = page.of;
        if page.page != joined || (joined > 0 && page.part.since != cut.since) {
            return Err(unreadable(&format!("page={} expected={joined} of={expected}", page.page)));
        }
        cut.since = page.part.since;
        cut.heads.extend(page.part.heads);
        cut.early.extend(page.part.early);
        cut.given_up.extend(page.part.given_up);
        joined += 1;
    }
    match joined == expected {
        true => Ok(cut),
        false => Err(unreadable(&format!("pages={joined} expected={expected}"))),
    }
}

/// What one page holds.
struct Part<'a> {
    heads: &'a [(StreamHash, Head)],
    early: &'a [Early],
    given_up: &'a [GivenUp],
}

fn parts(cut: &Cut) -> Vec<Part<'_>> {
    let (mut heads, mut early, mut given_up) = (&*cut.heads, &*cut.early, &*cut.given_up);
    let mut parts = Vec::new();
    loop {
        let mut room = PAGE_BYTES;
        parts.push(Part {
            heads: take(&mut heads, &mut room, |_| HEAD_BYTES * 4 / 3 + 1),
            early: take(&mut early, &mut room, early_size),
            given_up: take(&mut given_up, &mut room, |_| 120),
        });
        if heads.is_empty() && early.is_empty() && given_up.is_empty() {
            return parts;
        }
    }
}

fn early_size(early: &Early) -> usize {
    let event = match &early.event {
        EarlyEvent::Envelope(envelope) => size_in_json(envelope),
        EarlyEvent::Spilled(spilled) => spilled.shard.as_str().len() + spilled.stream.as_str().len() + 100,
    };
    event + early.partition_key.len() + 200
}

/// Quotes and backslashes take two bytes.
fn size_in_json(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

/// Takes what there is room for from the front; one item always, where there is all the room.
fn take<'a, T>(items: &mut &'a [T], room: &mut usize, size: impl Fn(&T) -> usize) -> &'a [T] {
    let mut count = 0;
    for item in *items {
        let size = size(item);
        if size > *room && *room < PAGE_BYTES {
            break;
        }
        *room = room.saturating_sub(size);
        count += 1;
    }
    let (taken, rest) = items.split_at(count);
    *items = rest;
    taken
}

fn encode_heads(heads: &[(StreamHash, Head)]) -> String {
    let mut bytes = Vec::with_capacity(heads.len() * HEAD_BYTES);
    for (stream, head) in heads {
        let [first, second] = stream.words();
        for word in [first, second, head.sequence.0] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        bytes.extend_from_slice(&head.recorded_at.micros().to_be_bytes());
    }
    STANDARD.encode(bytes)
}

fn decode_heads(text: &str) -> Result<Vec<(StreamHash, Head)>> {
    let bytes = STANDARD.decode(text).map_err(|error| unreadable(&error))?;
    let (heads, rest) = bytes.as_chunks::<HEAD_BYTES>();
    if !rest.is_empty() {
        return Err(unreadable(&format!("{} bytes of heads are left over", rest.len())));
    }
    Ok(heads.iter().map(decode_head).collect())
}

fn decode_head(bytes: &[u8; HEAD_BYTES]) -> (StreamHash, Head) {
    let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_be_bytes(*word));
    let mut word = || words.next().unwrap_or_default();
    let stream = StreamHash::from_words([word(), word()]);
    let sequence = Sequence(word());
    (stream, Head { sequence, recorded_at: Timestamp::from_micros(word().cast_signed()) })
}

fn number(count: usize) -> Result<u32> {
    u32::try_from(count).map_err(|_| unwritable(&"too many pages"))
}

fn unwritable(why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a cut cannot be written: {why}"))
}

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error::internal(format!("a cut cannot be read: {why}"))
}
