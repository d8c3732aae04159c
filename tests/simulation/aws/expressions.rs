//! The expressions of DynamoDB that the connectors write, and no others.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html>

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Attributes by name, each as the service has it: `{"S": "text"}`.
pub type Item = BTreeMap<String, Value>;

/// What names and values of an expression stand for.
#[derive(Clone, Copy)]
pub struct Scope<'r> {
    names: &'r Value,
    values: &'r Value,
}

impl<'r> Scope<'r> {
    /// Of a request, or of an action of one.
    pub fn of(request: &'r Value) -> Self {
        Self { names: &request["ExpressionAttributeNames"], values: &request["ExpressionAttributeValues"] }
    }

    fn name<'t>(&self, token: &'t str) -> &'t str
    where
        'r: 't,
    {
        match token.starts_with('#') {
            true => self.names[token].as_str().expect("a name of the request"),
            false => token,
        }
    }

    fn find<'t>(&self, token: &'t str, item: &'t Item) -> Option<&'t Value>
    where
        'r: 't,
    {
        if token.starts_with(':') {
            return self.values.get(token);
        }
        let mut parts = token.split('.');
        let mut found = item.get(self.name(parts.next()?))?;
        for part in parts {
            found = found.get("M")?.get(self.name(part))?;
        }
        Some(found)
    }

    /// Whether a condition holds of an item; one that is not there has no attributes.
    pub fn holds(&self, condition: &str, item: &Item) -> bool {
        let mut parser = Parser { scope: *self, tokens: tokens(condition), at: 0, item };
        let holds = parser.any();
        assert!(parser.at == parser.tokens.len(), "not understood: {condition}");
        holds
    }

    /// Changes an item as an update says.
    pub fn update(&self, update: &str, item: &mut Item) {
        let before = item.clone();
        for clause in clauses(update) {
            let [what, name, rest @ ..] = &clause[..] else { panic!("not understood: {update}") };
            let name = self.name(name).to_owned();
            match (*what, rest) {
                ("SET", ["=", "if_not_exists", "(", path, ",", value, ")"]) => {
                    let value = self.find(path, &before).or_else(|| self.find(value, &before));
                    item.insert(name, value.expect("a value").clone());
                }
                ("SET", ["=", value]) => {
                    item.insert(name, self.find(value, &before).expect("a value").clone());
                }
                ("REMOVE", []) => drop(item.remove(&name)),
                ("ADD", [value]) => {
                    let more = number(self.find(value, &before).expect("a value")).expect("a number");
                    let sum = before.get(&name).and_then(number).unwrap_or(0) + more;
                    item.insert(name, json!({ "N": sum.to_string() }));
                }
                _ => panic!("not understood: {update}"),
            }
        }
    }
}

/// Attributes by a projection; all without one.
pub fn project(item: &Item, projection: Option<&str>) -> Item {
    let Some(projection) = projection else { return item.clone() };
    let names = projection.split(',').map(str::trim);
    names.filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect()
}

fn number(value: &Value) -> Option<i128> {
    value.get("N")?.as_str()?.parse().ok()
}

fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let is_word = |c: char| c.is_alphanumeric() || "_#:.".contains(c);
        let length = match rest.find(|c| !is_word(c)) {
            Some(0) => 1,
            Some(length) => length,
            None => rest.len(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Each change of an update, behind the word that says of which kind it is.
fn clauses(update: &str) -> Vec<Vec<&str>> {
    let (mut clauses, mut clause, mut depth) = (Vec::new(), Vec::new(), 0);
    let mut what = "";
    for token in tokens(update) {
        match token {
            "SET" | "REMOVE" | "ADD" => {
                clauses.extend((clause.len() > 1).then_some(clause));
                (what, clause) = (token, vec![token]);
                continue;
            }
            "," if depth == 0 => {
                clauses.push(clause);
                clause = vec![what];
                continue;
            }
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        clause.push(token);
    }
    clauses.push(clause);
    clauses
}

/// Says whether a condition holds while it reads it.
struct Parser<'p, 'r> {
    scope: Scope<'r>,
    tokens: Vec<&'p str>,
    at: usize,
    item: &'p Item,
}

impl<'p, 'r: 'p> Parser<'p, 'r> {
    fn next(&mut self) -> &'p str {
        self.at += 1;
        self.tokens.get(self.at - 1).copied().unwrap_or_default()
    }

    fn takes(&mut self, token: &str) -> bool {
        let is_next = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(is_next);
        is_next
    }

    fn must(&mut self, token: &str) {
        assert!(self.takes(token), "`{token}` is missing: {:?}", self.tokens);
    }

    fn any(&mut self) -> bool {
        let mut holds = self.all();
        while self.takes("OR") {
            holds |= self.all();
        }
        holds
    }

    fn all(&mut self) -> bool {
        let mut holds = self.one();
        while self.takes("AND") {
            holds &= self.one();
        }
        holds
    }

    fn one(&mut self) -> bool {
        if self.takes("(") {
            let holds = self.any();
            self.must(")");
            return holds;
        }
        match self.next() {
            function @ ("attribute_exists" | "attribute_not_exists") => {
                self.must("(");
                let path = self.next();
                self.must(")");
                self.scope.find(path, self.item).is_some() == (function == "attribute_exists")
            }
            left => {
                let left = self.scope.find(left, self.item);
                self.compare(left)
            }
        }
    }

    /// Nothing compares with what is not there.
    fn compare(&mut self, left: Option<&'p Value>) -> bool {
        let (operator, right) = (self.next(), self.next());
        let right = self.scope.find(right, self.item);
        if operator == "BETWEEN" {
            self.must("AND");
            let last = self.next();
            let last = self.scope.find(last, self.item);
            return is(left, right, "=") || is(left, right, ">") && !is(left, last, ">");
        }
        is(left, right, operator)
    }
}

fn is(left: Option<&Value>, right: Option<&Value>, operator: &str) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    let text = |value: &Value| value.get("S").and_then(Value::as_str).map(str::to_owned);
    let order = match (number(left), number(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => text(left).zip(text(right)).map(|(left, right)| left.cmp(&right)),
    };
    match operator {
        "=" => order.map_or(left == right, std::cmp::Ordering::is_eq),
        "<" => order.is_some_and(std::cmp::Ordering::is_lt),
        ">" => order.is_some_and(std::cmp::Ordering::is_gt),
        _ => panic!("not understood: {operator}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        let own = json!({ "M": { "guard": { "S": "g" } } });
        Item::from([
            ("pk".to_owned(), json!({ "S": "b" })),
            ("closed".to_owned(), json!({ "N": "9" })),
            ("_own".to_owned(), own),
        ])
    }

    #[test]
    fn conditions_hold_or_do_not() {
        let request = json!({
            "ExpressionAttributeNames": { "#own": "_own", "#guard": "guard" },
            "ExpressionAttributeValues": {
                ":guard": { "S": "g" }, ":ten": { "N": "10" }, ":a": { "S": "a" }, ":b": { "S": "b" }, ":c": { "S": "c" },
            },
        });
        let holds = |condition: &str| Scope::of(&request).holds(condition, &item());
        for held in [
            "#own.#guard = :guard",
            "closed < :ten",
            "attribute_exists(pk) AND attribute_not_exists(waiting)",
            "(attribute_not_exists(closed) OR closed < :ten) AND (attribute_not_exists(waiting) OR waiting = :ten)",
            "pk BETWEEN :a AND :b",
            "pk = :b AND pk > :a",
        ] {
            assert!(holds(held), "{held}");
        }
        for not in [
            "pk = :a",
            "waiting = :ten",
            "pk > :b",
            "pk BETWEEN :c AND :c",
            "attribute_not_exists(#own.#guard)",
        ] {
            assert!(!holds(not), "{not}");
        }
    }

    #[test]
    fn updates_set_remove_and_add() {
        let request =
            json!({ "ExpressionAttributeValues": { ":v": { "S": "new" }, ":less": { "N": "-3" } } });
        let mut item = item();
        let update = "SET a = :v, pk = if_not_exists(pk, :v), b = if_not_exists(b, :v) REMOVE _own, other ADD closed :less, more :less";
        Scope::of(&request).update(update, &mut item);
        let found = serde_json::to_value(&item).unwrap();
        let expected = json!({
            "a": { "S": "new" }, "b": { "S": "new" }, "pk": { "S": "b" }, "closed": { "N": "6" }, "more": { "N": "-3" },
        });
        assert_eq!(found, expected);
    }
}
