//! Items as the SDK has them, as plain JSON: what the same item would be as a record of a stream.
//!
//! Sets become lists, and binary values base64. Names come in the order of their bytes.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine, engine::general_purpose::STANDARD};
use foldstream_model::{Error, Result};

use crate::dynamodb::Item;

/// `Poison`: a number that is none of JSON, or a type that is not known yet.
pub(super) fn json(item: &Item) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(512);
    map(&mut out, item)?;
    Ok(out)
}

fn map(out: &mut Vec<u8>, named: &Item) -> Result<()> {
    let sorted: BTreeMap<&String, &AttributeValue> = named.iter().collect();
    out.push(b'{');
    for (index, (name, attribute)) in sorted.into_iter().enumerate() {
        separate(out, index);
        text(out, name)?;
        out.push(b':');
        value(out, attribute)?;
    }
    out.push(b'}');
    Ok(())
}

fn value(out: &mut Vec<u8>, attribute: &AttributeValue) -> Result<()> {
    match attribute {
        AttributeValue::Null(_) => out.extend_from_slice(b"null"),
        AttributeValue::Bool(true) => out.extend_from_slice(b"true"),
        AttributeValue::Bool(false) => out.extend_from_slice(b"false"),
        AttributeValue::S(string) => text(out, string)?,
        AttributeValue::N(digits) => number(out, digits)?,
        AttributeValue::B(bytes) => text(out, &STANDARD.encode(bytes))?,
        AttributeValue::M(named) => map(out, named)?,
        AttributeValue::L(values) => list(out, values, value)?,
        AttributeValue::Ss(strings) => list(out, strings, |out, string| text(out, string))?,
        AttributeValue::Ns(numbers) => list(out, numbers, |out, digits| number(out, digits))?,
        AttributeValue::Bs(blobs) => list(out, blobs, |out, bytes| text(out, &STANDARD.encode(bytes)))?,
        other => return Err(Error::poison(format!("an attribute of an unknown type: {other:?}"))),
    }
    Ok(())
}

fn list<T>(
    out: &mut Vec<u8>,
    values: &[T],
    mut write: impl FnMut(&mut Vec<u8>, &T) -> Result<()>,
) -> Result<()> {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        separate(out, index);
        write(out, value)?;
    }
    out.push(b']');
    Ok(())
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

fn text(out: &mut Vec<u8>, text: &str) -> Result<()> {
    serde_json::to_writer(out, text).map_err(|error| Error::internal(error.to_string()))
}

fn number(out: &mut Vec<u8>, digits: &str) -> Result<()> {
    if digits.contains(' ') || serde_json::from_str::<serde_json::Number>(digits).is_err() {
        return Err(Error::poison(format!("not a number: {digits:?}")));
    }
    out.extend_from_slice(digits.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_dynamodb::primitives::Blob;

    use super::*;

    #[test]
    fn an_item_is_written_as_its_record_in_a_stream_would_be() {
        let inner = HashMap::from([("y".to_owned(), AttributeValue::N("-1".to_owned()))]);
        let list =
            vec![AttributeValue::S(String::new()), AttributeValue::L(Vec::new()), AttributeValue::M(inner)];
        let item = HashMap::from([
            ("pk".to_owned(), AttributeValue::S("a \"b\" é\u{0}".to_owned())),
            ("n".to_owned(), AttributeValue::N("12345678901234567890.10".to_owned())),
            ("big".to_owned(), AttributeValue::N("1E+3".to_owned())),
            ("yes".to_owned(), AttributeValue::Bool(true)),
            ("none".to_owned(), AttributeValue::Null(true)),
            ("list".to_owned(), AttributeValue::L(list)),
            ("bytes".to_owned(), AttributeValue::B(Blob::new("hi"))),
            ("texts".to_owned(), AttributeValue::Ss(vec!["x".to_owned(), "y".to_owned()])),
            ("numbers".to_owned(), AttributeValue::Ns(vec!["1".to_owned(), "2.5".to_owned()])),
        ]);
        let expected = r#"{"big":1E+3,"bytes":"aGk=","list":["",[],{"y":-1}],"n":12345678901234567890.10,"none":null,"numbers":[1,2.5],"pk":"a \"b\" é\u0000","texts":["x","y"],"yes":true}"#;
        assert_eq!(String::from_utf8(json(&item).unwrap()).unwrap(), expected);
    }
}
