//! `foldstream documents …`

mod get;
mod list;

use foldstream_model::{Document, DocumentKey, Map, Value};
use serde::Serialize;

use crate::{cli::DocumentsCommand, commands::Context, exit::Outcome};

pub async fn execute(command: DocumentsCommand, context: &mut Context) -> Outcome {
    match command {
        DocumentsCommand::Get(arguments) => get::execute(arguments, context).await,
        DocumentsCommand::List(arguments) => list::execute(arguments, context).await,
    }
}

/// A document as it is printed.
#[derive(Serialize)]
struct Shown<'a> {
    key: &'a str,
    document: Value,
}

impl<'a> Shown<'a> {
    fn new(key: &'a DocumentKey, document: &Document) -> Self {
        let fields: std::sync::Arc<Map> = document.fields.clone();
        Self { key: key.as_str(), document: Value::Map(fields) }
    }
}
