use foldstream_config::diagnostic::nearest;
use foldstream_model::{DocumentKey, ProjectionId};

use super::Shown;
use crate::{
    cli::GetDocument,
    commands::Context,
    exit::{Exit, Failure, Outcome},
    stores::Stores,
};

/// How many keys are looked at for the one that may have been meant.
const LOOKED_AT: usize = 5_000;

pub async fn execute(arguments: GetDocument, context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let key = DocumentKey::new(arguments.key);
    let found = store
        .documents(&projection)?
        .read(&projection, std::slice::from_ref(&key))
        .await?
        .into_iter()
        .next()
        .flatten();
    let Some(document) = found.and_then(|stored| stored.document) else {
        return Err(missing(&store, &projection, &key).await?);
    };
    let shown = Shown::new(&key, &document);
    if context.output.is_json() {
        context.output.object(&shown)?;
    } else {
        let pretty = serde_json::to_string_pretty(&shown);
        context.output.line(pretty.map_err(|error| Failure::failed(error.to_string()))?)?;
    }
    Ok(Exit::Done)
}

async fn missing(store: &Stores, projection: &ProjectionId, key: &DocumentKey) -> Outcome<Failure> {
    let first_letter: String = key.as_str().chars().take(1).collect();
    let behind = (!first_letter.is_empty()).then(|| DocumentKey::new(first_letter));
    let mut known = store.documents(projection)?.list(projection, behind.as_ref(), LOOKED_AT).await?;
    if known.is_empty() {
        known = store.documents(projection)?.list(projection, None, LOOKED_AT).await?;
    }
    let hint = match (nearest(key.as_str(), known.iter().map(|(key, _)| key.as_str())), known.is_empty()) {
        (Some(near), _) => format!("did you mean {near}?"),
        (None, true) => "it has no documents".to_owned(),
        (None, false) => format!("`foldstream documents list {}` shows which there are", projection.name),
    };
    Ok(Failure::failed(format!("{projection} has no document {key}; {hint}")))
}
