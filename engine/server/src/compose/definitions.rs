use foldstream_declarative::{Comparison, Definition};
use foldstream_model::{ProjectionId, Result};
use foldstream_runtime::{assembly::ProjectionSpec, rows::Rows};

/// A projection whose definition is not the one that its documents were made by.
pub struct Changed {
    pub projection: ProjectionId,
    /// What is different, in words.
    pub differences: Vec<String>,
}

/// The projections whose definition was changed under the same version.
pub async fn changed(projections: &[ProjectionSpec], rows: &Rows) -> Result<Vec<Changed>> {
    let mut found = Vec::new();
    for spec in projections {
        let Some(control) = rows.control(&spec.id).await? else { continue };
        if control.body.fingerprint == spec.fingerprint {
            continue;
        }
        let (now, then) =
            (Definition::from_text(&spec.definition)?, Definition::from_text(&control.body.definition)?);
        let differences = match now.compare(&then) {
            Comparison::Same => continue,
            Comparison::AddsTypes(types) => {
                types.iter().map(|added| format!("{added}: it is handled now")).collect()
            }
            Comparison::Differs(differences) => differences,
        };
        found.push(Changed { projection: spec.id.clone(), differences });
    }
    Ok(found)
}
