//! What the processes run: read models of every ordering, over events of a shop.

use serde::Serialize;

pub const CONFIG: &str = "config_version: 1
sources:
  shop: { kind: local, shards: 8 }
reducers:
  order:
    - { event: Placed, set: { customer: =payload.customer, units: 0 } }
    - { event: Sold, add: { units: =payload.quantity } }
    - { event: Moved, set: { customer: =payload.customer } }
projections:
  orders:
    version: 1
    source: shop
    ordering: per_stream
    reducer: order
    handlers:
      - event: [Placed, Sold, Moved]
        key: =event.stream_id
        set: { customer: =state.customer, units: =state.units }
        append: { events: =payload.id }
  times:
    version: 1
    source: shop
    ordering: commutative
    handlers:
      - { event: [Placed, Sold, Moved], key: =payload.id, add: { times: 1 } }
  customers:
    version: 1
    source: shop
    ordering: commutative
    reducer: order
    handlers:
      - { event: Placed, key: =payload.customer, add: { orders: 1, units: 0 } }
      - { event: Sold, key: =state.customer, add: { units: =payload.quantity } }
      - { event: Moved, key: =before.customer, add: { orders: -1, units: =-before.units } }
      - { event: Moved, key: =state.customer, add: { orders: 1, units: =state.units } }
  journal:
    version: 1
    source: shop
    ordering: global
    handlers:
      - { event: [Placed, Sold, Moved], key: =payload.page, append: { events: =payload.id } }
";

pub const SOURCE: &str = "shop";
pub const STREAMS: usize = 48;
const CUSTOMERS: usize = 7;
const PAGES: usize = 40;

/// An event as it was appended.
#[derive(Debug, Clone)]
pub struct Fact {
    pub stream: String,
    pub kind: Kind,
    pub payload: Payload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Placed,
    Sold,
    Moved,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Placed => "Placed",
            Self::Sold => "Sold",
            Self::Moved => "Moved",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Payload {
    pub id: String,
    pub customer: String,
    pub page: String,
    pub quantity: u64,
}

impl Fact {
    /// The event that is the `number`th of all, in a stream that has `before` events; what is open is drawn.
    pub fn drawn(number: usize, stream: usize, before: u64, drawn: usize) -> Self {
        let kind = match (before, drawn % 5) {
            (0, _) => Kind::Placed,
            (_, 0) => Kind::Moved,
            _ => Kind::Sold,
        };
        let payload = Payload {
            id: format!("e-{number}"),
            customer: format!("c-{}", drawn / 5 % CUSTOMERS),
            page: format!("p-{}", drawn / 35 % PAGES),
            quantity: (drawn % 9) as u64 + 1,
        };
        Self { stream: name(stream), kind, payload }
    }
}

pub fn name(stream: usize) -> String {
    format!("o-{stream}")
}
