//! What the functions do.

use std::borrow::Cow;

use foldstream_model::{Decimal, Timestamp, Value};

use super::evaluate::{Evaluated, Fault, MAX_TEXT, Scope, bounded, owned, weight};
use super::function::Function;
use super::node::Node;

pub(super) fn call<'a>(function: Function, arguments: &'a [Node], scope: &Scope<'a>) -> Evaluated<'a> {
    if function == Function::Coalesce {
        return coalesce(arguments, scope);
    }
    let values: Result<Vec<Cow<'a, Value>>, Fault> =
        arguments.iter().map(|argument| argument.evaluate(scope)).collect();
    let values = values?;
    if !matches!(function, Function::Size | Function::Exists) {
        scope.spend(values.iter().map(|value| weight(value)).sum())?;
    }
    let made = match values.as_slice() {
        [only] => of_one(function, only)?,
        several => of_several(function, several)?,
    };
    scope.spend(weight(&made))?;
    Ok(Cow::Owned(made))
}

fn coalesce<'a>(arguments: &'a [Node], scope: &Scope<'a>) -> Evaluated<'a> {
    for argument in arguments {
        let value = argument.evaluate(scope)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(owned(Value::Null))
}

fn of_one(function: Function, value: &Value) -> Result<Value, Fault> {
    Ok(match function {
        Function::Exists => Value::from(!value.is_null()),
        Function::Size => Value::from(size(value)?),
        Function::String => Value::from(text_of(value)?),
        Function::Number => Value::Number(number_of(value)?),
        Function::Abs => Value::Number(number(function, value)?.absolute()),
        Function::Floor => Value::Number(floor(number(function, value)?)?),
        Function::Ceil => Value::Number(floor(&number(function, value)?.negated())?.negated()),
        Function::Sum => Value::Number(sum(value)?),
        Function::Min | Function::Max => {
            orderable(function, value)?;
            value.clone()
        }
        Function::LowerAscii => Value::from(text(function, value)?.to_ascii_lowercase()),
        Function::UpperAscii => Value::from(text(function, value)?.to_ascii_uppercase()),
        Function::Trim => Value::from(text(function, value)?.trim()),
        Function::Timestamp => Value::from(instant(function, value)?.to_string()),
        Function::Date => Value::from(instant(function, value)?.date()),
        Function::Epoch => Value::Number(seconds(instant(function, value)?)?),
        _ => return Err(unfit(function, value)),
    })
}

fn of_several(function: Function, values: &[Cow<'_, Value>]) -> Result<Value, Fault> {
    if matches!(function, Function::Min | Function::Max) {
        return extreme(function, values);
    }
    match (function, values) {
        (Function::Round, [x, places]) => {
            let x = number(function, x)?;
            Ok(Value::Number(x.divide_rounded(&Decimal::ONE, whole(function, places)?)?))
        }
        (Function::Divide, [x, y, places]) => {
            let (x, y) = (number(function, x)?, number(function, y)?);
            Ok(Value::Number(x.divide_rounded(y, whole(function, places)?)?))
        }
        (Function::Pad, [x, width]) => pad(number(function, x)?, whole(function, width)?),
        (Function::StartsWith, [x, y]) => Ok(Value::from(text(function, x)?.starts_with(text(function, y)?))),
        (Function::EndsWith, [x, y]) => Ok(Value::from(text(function, x)?.ends_with(text(function, y)?))),
        (Function::Contains, [x, y]) => Ok(Value::from(text(function, x)?.contains(text(function, y)?))),
        (Function::Replace, [x, from, to]) => {
            replace(text(function, x)?, text(function, from)?, text(function, to)?)
        }
        (Function::Substring, [x, from]) => substring(text(function, x)?, position(from)?, usize::MAX),
        (Function::Substring, [x, from, to]) => substring(text(function, x)?, position(from)?, position(to)?),
        (Function::Split, [x, separator]) => split(text(function, x)?, text(function, separator)?),
        (Function::Join, [list, separator]) => join(list, text(function, separator)?),
        _ => Err(Fault::new(format!("{function:?} does not take {} arguments", values.len()))),
    }
}

fn unfit(function: Function, value: &Value) -> Fault {
    Fault::new(format!("{} cannot take {}", name(function), value.kind()))
}

fn name(function: Function) -> &'static str {
    let found = super::function::SIGNATURES.iter().find(|signature| signature.function == function);
    found.map_or("coalesce", |signature| signature.name)
}

fn number(function: Function, value: &Value) -> Result<&Decimal, Fault> {
    value.as_number().ok_or_else(|| unfit(function, value))
}

fn text(function: Function, value: &Value) -> Result<&str, Fault> {
    value.as_text().ok_or_else(|| unfit(function, value))
}

fn instant(function: Function, value: &Value) -> Result<Timestamp, Fault> {
    let text = text(function, value)?;
    Timestamp::parse(text).map_err(|_| Fault::new(format!("{text:?} is no timestamp; RFC 3339 is expected")))
}

fn seconds(instant: Timestamp) -> Result<Decimal, Fault> {
    let micros = Decimal::from(instant.micros());
    Ok(micros.checked_div(&Decimal::from(1_000_000_i64))?)
}

fn orderable(function: Function, value: &Value) -> Result<(), Fault> {
    if matches!(value, Value::Number(_) | Value::Text(_)) { Ok(()) } else { Err(unfit(function, value)) }
}

fn size(value: &Value) -> Result<usize, Fault> {
    match value {
        Value::Null => Ok(0),
        Value::Text(text) => Ok(text.chars().count()),
        Value::List(items) => Ok(items.len()),
        Value::Map(map) => Ok(map.len()),
        other => Err(unfit(Function::Size, other)),
    }
}

fn text_of(value: &Value) -> Result<String, Fault> {
    match value {
        Value::Text(text) => Ok(text.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        other => Err(unfit(Function::String, other)),
    }
}

fn number_of(value: &Value) -> Result<Decimal, Fault> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        Value::Text(text) => Ok(text.parse()?),
        other => Err(unfit(Function::Number, other)),
    }
}

/// The greatest whole number at or below: rounding to none gives a neighbour, which is at most one too many.
fn floor(number: &Decimal) -> Result<Decimal, Fault> {
    let near = number.divide_rounded(&Decimal::ONE, 0)?;
    Ok(if near > *number { near.checked_sub(&Decimal::ONE)? } else { near })
}

fn sum(value: &Value) -> Result<Decimal, Fault> {
    let items = match value {
        Value::Null => &[][..],
        Value::List(items) => items,
        other => return Err(unfit(Function::Sum, other)),
    };
    let mut sum = Decimal::ZERO;
    for item in items {
        sum = sum.checked_add(number(Function::Sum, item)?)?;
    }
    Ok(sum)
}

fn extreme(function: Function, values: &[Cow<'_, Value>]) -> Result<Value, Fault> {
    let kinds: (usize, usize) = values.iter().fold((0, 0), |(numbers, texts), value| match &**value {
        Value::Number(_) => (numbers + 1, texts),
        Value::Text(_) => (numbers, texts + 1),
        _ => (numbers, texts),
    });
    if kinds.0 != values.len() && kinds.1 != values.len() {
        return Err(Fault::new(format!("{} takes numbers only or strings only", name(function))));
    }
    let found = if function == Function::Min { values.iter().min() } else { values.iter().max() };
    Ok(found.map(|value| value.clone().into_owned()).unwrap_or_default())
}

fn whole(function: Function, value: &Value) -> Result<u8, Fault> {
    let whole = number(function, value)?.to_u64().and_then(|whole| u8::try_from(whole).ok());
    whole.filter(|whole| *whole <= 100).ok_or_else(|| {
        Fault::new(format!("{} takes a whole number from 0 to 100 as its last argument", name(function)))
    })
}

fn pad(number: &Decimal, width: u8) -> Result<Value, Fault> {
    let whole =
        number.to_u64().ok_or_else(|| Fault::new("pad needs a whole number of at most 64 bits from 0 on"))?;
    Ok(Value::from(format!("{whole:0width$}", width = usize::from(width))))
}

fn position(value: &Value) -> Result<usize, Fault> {
    let position =
        value.as_number().and_then(Decimal::to_u64).and_then(|position| usize::try_from(position).ok());
    position.ok_or_else(|| Fault::new("substring takes whole numbers from 0 on"))
}

fn substring(text: &str, from: usize, to: usize) -> Result<Value, Fault> {
    let taken: String = text.chars().skip(from).take(to.saturating_sub(from)).collect();
    Ok(Value::from(taken))
}

fn replace(text: &str, from: &str, to: &str) -> Result<Value, Fault> {
    let replaced = text.matches(from).count();
    bounded("replace", text.len() + replaced * to.len(), MAX_TEXT, "bytes")?;
    Ok(Value::from(text.replace(from, to)))
}

fn split(text: &str, separator: &str) -> Result<Value, Fault> {
    if separator.is_empty() {
        return Err(Fault::new("split needs a separator"));
    }
    Ok(Value::from(text.split(separator).map(Value::from).collect::<Vec<_>>()))
}

fn join(list: &Value, separator: &str) -> Result<Value, Fault> {
    let items = match list {
        Value::Null => &[][..],
        Value::List(items) => items,
        other => return Err(unfit(Function::Join, other)),
    };
    let texts: Result<Vec<&str>, Fault> = items.iter().map(|item| text(Function::Join, item)).collect();
    let texts = texts?;
    let size = texts.iter().map(|text| text.len() + separator.len()).sum();
    bounded("join", size, MAX_TEXT, "bytes")?;
    Ok(Value::from(texts.join(separator)))
}
