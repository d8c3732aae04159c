use foldstream_model::{DocumentKey, ports::StoredDocument};

use super::Shown;
use crate::{
    cli::ListDocuments,
    commands::Context,
    exit::{Exit, Outcome},
    output::{count, say},
};

const PAGE: usize = 1_000;

pub async fn execute(arguments: ListDocuments, context: &mut Context) -> Outcome {
    let store = context.stores_to_read().await?;
    let projection = context.projection(&arguments.projection, &store).await?;
    let documents = store.documents(&projection)?;
    let prefix = arguments.prefix.unwrap_or_default();
    let mut after = arguments.after.map(DocumentKey::new);
    let mut left = if arguments.limit == 0 { usize::MAX } else { arguments.limit };
    if !prefix.is_empty() && after.as_ref().is_none_or(|after| after.as_str() < prefix.as_str()) {
        // The prefix may be a key itself, and listing begins behind a key.
        let key = DocumentKey::new(prefix.as_str());
        let exact = documents.read(&projection, std::slice::from_ref(&key)).await?.into_iter().flatten();
        left -= show(exact.map(|stored| (key.clone(), stored)), context)?;
        after = Some(key);
    }
    while left > 0 {
        let page = documents.list(&projection, after.as_ref(), PAGE.min(left)).await?;
        let full = page.len() == PAGE;
        after = page.last().map(|(key, _)| key.clone());
        let read = page.len();
        let shown = show(page.into_iter().take_while(|(key, _)| key.as_str().starts_with(&prefix)), context)?;
        left -= shown;
        if shown < read || !full {
            break;
        }
    }
    let more = match (left, &after) {
        (0, Some(after)) => documents.list(&projection, Some(after), 1).await?,
        _ => Vec::new(),
    };
    let more = more.first().is_some_and(|(key, _)| key.as_str().starts_with(&prefix));
    if let Some(last) = after.filter(|_| more && !context.global.quiet) {
        let limit = count(arguments.limit as u64);
        say(format!("these are {limit}; there are more behind --after '{last}', and --limit 0 shows all"));
    }
    Ok(Exit::Done)
}

fn show(
    documents: impl Iterator<Item = (DocumentKey, StoredDocument)>,
    context: &mut Context,
) -> Outcome<usize> {
    let mut shown = 0;
    for (key, stored) in documents {
        if let Some(document) = &stored.document {
            context.output.object(&Shown::new(&key, document))?;
            shown += 1;
        }
    }
    Ok(shown)
}
