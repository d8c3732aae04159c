//! Evaluation. Paths, literals and elements are borrowed; only what is computed is owned.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use foldstream_model::value::NumberError;
use foldstream_model::{Event, Map, Text, Value};

use super::call;
use super::names::Root;
use super::node::{Arithmetic, EventPart, Node, Order, Quantifier};

/// How much one evaluation may do: an element that is visited, compared or copied is a step, and so are 128 bytes of text
/// that are read or made. Every worker must come to the same, so this is no setting.
pub(super) const MAX_STEPS: u32 = 1_000_000;
const STEP_BYTES: usize = 128;

/// The longest text that an expression makes, in bytes.
pub(super) const MAX_TEXT: usize = 1 << 20;

static NULL: Value = Value::Null;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(Box<str>);

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Fault {
        Fault(message.into().into_boxed_str())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<NumberError> for Fault {
    fn from(error: NumberError) -> Self {
        Fault::new(error.to_string())
    }
}

pub(super) type Evaluated<'a> = Result<Cow<'a, Value>, Fault>;

/// What the names of an expression stand for.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub event: Option<&'a Event>,
    pub payload: &'a Value,
    pub before: &'a Value,
    pub state: &'a Value,
    pub document: &'a Value,
    pub item: &'a Value,
    pub(crate) local: Option<&'a Local<'a>>,
    pub(crate) steps: &'a Cell<u32>,
}

/// The variable of a macro, and those around it.
pub(crate) struct Local<'a> {
    value: &'a Value,
    outer: Option<&'a Local<'a>>,
}

impl<'a> Scope<'a> {
    /// A scope where every name is null. `steps` counts the work of everything that is evaluated in it.
    pub(crate) fn empty(steps: &'a Cell<u32>) -> Scope<'a> {
        Scope {
            event: None,
            payload: &NULL,
            before: &NULL,
            state: &NULL,
            document: &NULL,
            item: &NULL,
            local: None,
            steps,
        }
    }

    fn root(&self, root: Root) -> &'a Value {
        match root {
            Root::Payload => self.payload,
            Root::Before => self.before,
            Root::State => self.state,
            Root::Document => self.document,
            Root::Item => self.item,
            Root::Metadata => self.event.map_or(&NULL, |event| &event.metadata.value),
            Root::Event => &NULL,
        }
    }

    fn local(&self, up: usize) -> &'a Value {
        let mut local = self.local;
        for _ in 0..up {
            local = local.and_then(|local| local.outer);
        }
        local.map_or(&NULL, |local| local.value)
    }

    /// Counts work that grows with what an expression is given.
    pub(super) fn spend(&self, steps: usize) -> Result<(), Fault> {
        let steps = self.steps.get().saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if steps > MAX_STEPS {
            return Err(Fault::new(format!(
                "it takes more than {MAX_STEPS} steps: each element that is visited, compared or copied is one, and so are 128 bytes of text"
            )));
        }
        self.steps.set(steps);
        Ok(())
    }
}

impl Node {
    pub(super) fn evaluate<'a>(&'a self, scope: &Scope<'a>) -> Evaluated<'a> {
        match self {
            Node::Literal(value) => Ok(Cow::Borrowed(value)),
            Node::Path { root, names } => follow(scope.root(*root), names).map(Cow::Borrowed),
            Node::Local { up, names } => follow(scope.local(*up), names).map(Cow::Borrowed),
            Node::Event(part) => Ok(Cow::Owned(event_part(scope.event, *part))),
            Node::Field { of, names } => step_into(of.evaluate(scope)?, |value| follow(value, names)),
            Node::Index { of, at } => {
                let at = at.evaluate(scope)?;
                step_into(of.evaluate(scope)?, |value| index(value, &at))
            }
            Node::Not(operand) => Ok(owned(!operand.boolean(scope)?)),
            Node::Negate(operand) => match &*operand.evaluate(scope)? {
                Value::Number(number) => Ok(owned(number.negated())),
                other => Err(Fault::new(format!("- needs a number, not {}", other.kind()))),
            },
            Node::And(left, right) => Ok(owned(left.boolean(scope)? && right.boolean(scope)?)),
            Node::Or(left, right) => Ok(owned(left.boolean(scope)? || right.boolean(scope)?)),
            Node::Choose { condition, then, otherwise } => {
                if condition.boolean(scope)? {
                    then.evaluate(scope)
                } else {
                    otherwise.evaluate(scope)
                }
            }
            Node::Equal { left, right, negated } => {
                let (left, right) = (left.evaluate(scope)?, right.evaluate(scope)?);
                scope.spend(to_compare(&left, &right))?;
                Ok(owned((left == right) != *negated))
            }
            Node::Order { operator, left, right } => {
                compare(*operator, &*left.evaluate(scope)?, &*right.evaluate(scope)?).map(owned)
            }
            Node::Arithmetic { operator, left, right } => {
                let made = compute(*operator, &*left.evaluate(scope)?, &*right.evaluate(scope)?)?;
                scope.spend(weight(&made))?;
                Ok(Cow::Owned(made))
            }
            Node::In { item, within } => {
                let within = within.evaluate(scope)?;
                if let Value::List(_) = &*within {
                    scope.spend(weight(&within))?;
                }
                contains(&within, &*item.evaluate(scope)?).map(owned)
            }
            Node::List(items) => {
                let items: Result<Vec<Value>, Fault> =
                    items.iter().map(|item| Ok(item.evaluate(scope)?.into_owned())).collect();
                Ok(Cow::Owned(Value::from(items?)))
            }
            Node::Map(fields) => map(fields, scope),
            Node::Has { of, name } => {
                let of = of.evaluate(scope)?;
                Ok(owned(of.get(name).is_some_and(|value| !value.is_null())))
            }
            Node::Call { function, arguments } => call::call(*function, arguments, scope),
            Node::Quantify { quantifier, over, test } => quantify(*quantifier, over, test, scope),
            Node::Transform { over, test, result } => {
                transform(over, test.as_deref(), result.as_deref(), scope)
            }
        }
    }

    pub(super) fn boolean(&self, scope: &Scope<'_>) -> Result<bool, Fault> {
        match &*self.evaluate(scope)? {
            Value::Bool(value) => Ok(*value),
            Value::Null => Err(Fault::new(
                "a condition is null, not true or false; ask has(…) first or compare with == true",
            )),
            other => Err(Fault::new(format!("a condition is {}, not true or false", other.kind()))),
        }
    }
}

pub(super) fn owned<'a>(value: impl Into<Value>) -> Cow<'a, Value> {
    Cow::Owned(value.into())
}

/// How many steps it takes to look through a value.
pub(super) fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len() / STEP_BYTES,
        Value::List(items) => items.iter().map(|item| 1 + weight(item)).sum(),
        Value::Map(map) => map.values().map(|value| 1 + weight(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Values of other sizes are told apart at once.
fn to_compare(left: &Value, right: &Value) -> usize {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) if left.len() != right.len() => 0,
        (Value::List(left), Value::List(right)) if left.len() != right.len() => 0,
        (Value::Map(left), Value::Map(right)) if left.len() != right.len() => 0,
        (left, right) if left.kind() != right.kind() => 0,
        (left, _) => weight(left),
    }
}

fn follow<'v>(value: &'v Value, names: &[Arc<str>]) -> Result<&'v Value, Fault> {
    let mut value = value;
    for name in names {
        value = match value {
            Value::Map(map) => map.get(name).unwrap_or(&NULL),
            Value::Null => return Ok(&NULL),
            other => return Err(Fault::new(format!("`.{name}` needs an object, not {}", other.kind()))),
        };
    }
    Ok(value)
}

/// A part of a value, borrowed where the value is.
fn step_into<'a>(
    value: Cow<'a, Value>,
    part: impl for<'v> Fn(&'v Value) -> Result<&'v Value, Fault>,
) -> Evaluated<'a> {
    match value {
        Cow::Borrowed(value) => part(value).map(Cow::Borrowed),
        Cow::Owned(value) => part(&value).cloned().map(Cow::Owned),
    }
}

fn event_part(event: Option<&Event>, part: EventPart) -> Value {
    let Some(event) = event else { return Value::Null };
    match part {
        EventPart::StreamId => Value::Text(event.stream_id.text().clone()),
        EventPart::Sequence => Value::from(event.sequence.0),
        EventPart::Id => Value::Text(event.id.text().clone()),
        EventPart::Type => Value::Text(event.event_type.text().clone()),
        EventPart::SchemaVersion => Value::from(u64::from(event.schema_version.0)),
        EventPart::RecordedAt => Value::from(event.recorded_at.to_string()),
        EventPart::EffectiveAt => Value::from(event.effective_at.to_string()),
    }
}

fn index<'v>(value: &'v Value, at: &Value) -> Result<&'v Value, Fault> {
    match (value, at) {
        (Value::Null, _) => Ok(&NULL),
        (Value::Map(map), Value::Text(name)) => Ok(map.get(name.as_str()).unwrap_or(&NULL)),
        (Value::List(items), Value::Number(number)) if number.is_integer() => {
            let index = number.to_u64().and_then(|index| usize::try_from(index).ok());
            Ok(index.and_then(|index| items.get(index)).unwrap_or(&NULL))
        }
        (value, at) => Err(Fault::new(format!("[…] cannot take {} of {}", at.kind(), value.kind()))),
    }
}

fn compare(operator: Order, left: &Value, right: &Value) -> Result<bool, Fault> {
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        _ => {
            let message = format!(
                "cannot order {} and {}; it takes two numbers or two strings",
                left.kind(),
                right.kind()
            );
            return Err(Fault::new(message));
        }
    };
    Ok(match operator {
        Order::Less => ordering.is_lt(),
        Order::LessOrEqual => ordering.is_le(),
        Order::Greater => ordering.is_gt(),
        Order::GreaterOrEqual => ordering.is_ge(),
    })
}

fn compute(operator: Arithmetic, left: &Value, right: &Value) -> Result<Value, Fault> {
    let (symbol, result) = match (operator, left, right) {
        (Arithmetic::Add, Value::Number(left), Value::Number(right)) => ("+", left.checked_add(right)),
        (Arithmetic::Subtract, Value::Number(left), Value::Number(right)) => ("-", left.checked_sub(right)),
        (Arithmetic::Multiply, Value::Number(left), Value::Number(right)) => ("*", left.checked_mul(right)),
        (Arithmetic::Divide, Value::Number(left), Value::Number(right)) => ("/", left.checked_div(right)),
        (Arithmetic::Add, Value::Text(left), Value::Text(right)) => {
            bounded("+", left.len() + right.len(), MAX_TEXT, "bytes")?;
            return Ok(Value::from(format!("{left}{right}")));
        }
        (Arithmetic::Add, Value::List(left), Value::List(right)) => {
            bounded("+", left.len() + right.len(), MAX_STEPS as usize, "elements")?;
            return Ok(Value::from([left.as_slice(), right.as_slice()].concat()));
        }
        (Arithmetic::Add, ..) => {
            return Err(operands("+", "two numbers, two strings or two lists", left, right));
        }
        (Arithmetic::Subtract, ..) => return Err(operands("-", "two numbers", left, right)),
        (Arithmetic::Multiply, ..) => return Err(operands("*", "two numbers", left, right)),
        (Arithmetic::Divide, ..) => return Err(operands("/", "two numbers", left, right)),
    };
    result.map(Value::Number).map_err(|error| Fault::new(format!("{symbol}: {error}")))
}

/// Refuses what would grow without end when an expression works on its own results.
pub(super) fn bounded(what: &str, size: usize, most: usize, unit: &str) -> Result<(), Fault> {
    if size <= most { Ok(()) } else { Err(Fault::new(format!("{what} makes more than {most} {unit}"))) }
}

fn operands(symbol: &str, wanted: &str, left: &Value, right: &Value) -> Fault {
    Fault::new(format!("{symbol} needs {wanted}, not {} and {}", left.kind(), right.kind()))
}

fn contains(within: &Value, item: &Value) -> Result<bool, Fault> {
    match (within, item) {
        (Value::Null, _) => Ok(false),
        (Value::List(items), item) => Ok(items.contains(item)),
        (Value::Map(map), Value::Text(name)) => Ok(map.contains_key(name.as_str())),
        (within, item) => Err(Fault::new(format!("in cannot look for {} in {}", item.kind(), within.kind()))),
    }
}

fn map<'a>(fields: &'a [(Node, Node)], scope: &Scope<'a>) -> Evaluated<'a> {
    let mut map = Map::new_vec();
    for (name, value) in fields {
        let name = match &*name.evaluate(scope)? {
            Value::Text(name) => Arc::<str>::from(name.clone()),
            other => {
                return Err(Fault::new(format!("the name of a field is {}, not a string", other.kind())));
            }
        };
        let value = value.evaluate(scope)?.into_owned();
        if let Some(double) = map.insert(Arc::clone(&name), value) {
            drop(double);
            return Err(Fault::new(format!("an object has the field {name:?} twice")));
        }
    }
    Ok(owned(map))
}

/// The elements of a list, the names of an object; nothing has none.
fn elements(value: &Value) -> Result<Cow<'_, [Value]>, Fault> {
    match value {
        Value::Null => Ok(Cow::Borrowed(&[])),
        Value::List(items) => Ok(Cow::Borrowed(items)),
        Value::Map(map) => {
            Ok(Cow::Owned(map.keys().map(|name| Value::Text(Text::from(Arc::clone(name)))).collect()))
        }
        other => Err(Fault::new(format!("a macro needs a list or an object, not {}", other.kind()))),
    }
}

fn quantify<'a>(quantifier: Quantifier, over: &Node, test: &Node, scope: &Scope<'_>) -> Evaluated<'a> {
    let over = over.evaluate(scope)?;
    let mut passed = 0;
    for value in &*elements(&over)? {
        scope.spend(1)?;
        let local = Local { value, outer: scope.local };
        let inner = Scope { local: Some(&local), ..*scope };
        match (test.boolean(&inner)?, quantifier) {
            (true, Quantifier::Any) => return Ok(owned(true)),
            (false, Quantifier::All) => return Ok(owned(false)),
            (true, _) => passed += 1,
            (false, _) => {}
        }
    }
    Ok(owned(match quantifier {
        Quantifier::Any => false,
        Quantifier::All => true,
        Quantifier::One => passed == 1,
    }))
}

fn transform<'a>(
    over: &Node,
    test: Option<&Node>,
    result: Option<&Node>,
    scope: &Scope<'_>,
) -> Evaluated<'a> {
    let over = over.evaluate(scope)?;
    let mut results = Vec::new();
    for value in &*elements(&over)? {
        scope.spend(1)?;
        let local = Local { value, outer: scope.local };
        let inner = Scope { local: Some(&local), ..*scope };
        if let Some(test) = test
            && !test.boolean(&inner)?
        {
            continue;
        }
        results.push(match result {
            Some(result) => result.evaluate(&inner)?.into_owned(),
            None => value.clone(),
        });
    }
    Ok(owned(results))
}
