use super::{Fields, Reader};
use crate::{
    settings::{Name, Sink, SinkKind, Spanned},
    yaml::Node,
};

const LATER_KINDS: [&str; 2] = ["dynamodb", "opensearch"];

pub(super) fn sink(reader: &mut Reader<'_>, name: &Spanned<Name>, node: &Node) -> Option<Sink> {
    let mut fields = Fields::of(reader, node, "the settings of a sink")?;
    let word = fields.required(reader, "kind", |r, node| r.kind(node, "sink", &LATER_KINDS))?;
    // What is there is checked; what is missing is no mistake, as the kind can not be had anyway.
    let expected: &[(&'static str, &str)] = match word.value {
        "dynamodb" => &[("table", "a table's name")],
        "opensearch" => &[("domain", "a domain's name"), ("index", "an index's name"), ("alias", "an alias")],
        _ => &[],
    };
    for (field, what) in expected {
        fields.optional(reader, field, |reader, node| reader.text(node, what));
    }
    fields.finish(reader);
    (word.value == "local")
        .then(|| Sink { place: name.place, kind: Spanned::new(SinkKind::Local, word.place) })
}
