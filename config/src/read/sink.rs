use super::{Fields, Reader};
use crate::{
    settings::{Name, Sink, SinkKind, Spanned},
    yaml::Node,
};

pub(super) fn sink(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Sink> {
    let mut fields = Fields::of(reader, node, "the settings of a sink")?;
    let words = ["local", "dynamodb", "opensearch"];
    let word = fields
        .required(reader, "kind", |reader, node| reader.choice(node, &words.map(|word| (word, word))))?;
    let kind = kind(reader, &mut fields, word.value);
    fields.finish(reader);
    Some(Sink { place: name.place, kind: Spanned::new(kind?, word.place) })
}

fn kind(reader: &mut Reader<'_>, fields: &mut Fields<'_>, word: &str) -> Option<SinkKind> {
    let mut required = |field, what| fields.required(reader, field, |reader, node| reader.text(node, what));
    match word {
        "dynamodb" => Some(SinkKind::Dynamodb { table: required("table", "a table's name")? }),
        "opensearch" => {
            let (domain, index) =
                (required("domain", "a domain's name"), required("index", "an index's name"));
            let alias = fields.optional(reader, "alias", |reader, node| reader.text(node, "an alias"));
            Some(SinkKind::Opensearch { domain: domain?, index: index?, alias: alias? })
        }
        _ => Some(SinkKind::Local),
    }
}
