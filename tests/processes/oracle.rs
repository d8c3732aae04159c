//! What the documents must be: a fold of all events in the order in which they were appended.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::shop::{Fact, Kind};

pub type Documents = BTreeMap<String, Value>;

pub fn documents(facts: &[Fact]) -> BTreeMap<&'static str, Documents> {
    BTreeMap::from([
        ("orders", orders(facts)),
        ("times", times(facts)),
        ("customers", customers(facts)),
        ("journal", journal(facts)),
    ])
}

#[derive(Default)]
struct Order {
    customer: String,
    units: u64,
    events: Vec<String>,
}

fn orders(facts: &[Fact]) -> Documents {
    let mut orders: BTreeMap<&str, Order> = BTreeMap::new();
    for fact in facts {
        let order = orders.entry(&fact.stream).or_default();
        match fact.kind {
            Kind::Placed | Kind::Moved => order.customer.clone_from(&fact.payload.customer),
            Kind::Sold => order.units += fact.payload.quantity,
        }
        order.events.push(fact.payload.id.clone());
    }
    let document =
        |order: &Order| json!({"customer": order.customer, "units": order.units, "events": order.events});
    orders.iter().map(|(stream, order)| ((*stream).to_owned(), document(order))).collect()
}

fn times(facts: &[Fact]) -> Documents {
    facts.iter().map(|fact| (fact.payload.id.clone(), json!({"times": 1}))).collect()
}

fn customers(facts: &[Fact]) -> Documents {
    let mut orders: BTreeMap<&str, (&str, i64)> = BTreeMap::new();
    let mut customers: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for fact in facts {
        let to = fact.payload.customer.as_str();
        match fact.kind {
            Kind::Placed => {
                orders.insert(&fact.stream, (to, 0));
                customers.entry(to).or_default().0 += 1;
            }
            Kind::Sold => {
                let (customer, units) = orders.get_mut(fact.stream.as_str()).unwrap();
                let quantity = i64::try_from(fact.payload.quantity).unwrap();
                *units += quantity;
                customers.entry(customer).or_default().1 += quantity;
            }
            Kind::Moved => {
                let (customer, units) = orders.get_mut(fact.stream.as_str()).unwrap();
                let left = customers.entry(customer).or_default();
                *left = (left.0 - 1, left.1 - *units);
                let joined = customers.entry(to).or_default();
                *joined = (joined.0 + 1, joined.1 + *units);
                *customer = to;
            }
        }
    }
    let document = |(orders, units): &(i64, i64)| json!({"orders": orders, "units": units});
    customers.iter().map(|(customer, sums)| ((*customer).to_owned(), document(sums))).collect()
}

fn journal(facts: &[Fact]) -> Documents {
    let mut pages: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for fact in facts {
        pages.entry(&fact.payload.page).or_default().push(&fact.payload.id);
    }
    pages.iter().map(|(page, events)| ((*page).to_owned(), json!({"events": events}))).collect()
}
