//! Git as the judge: the documents of `files` must be the tree of the pinned commit.

use std::{collections::BTreeMap, fmt};

use foldstream_model::Result;

use super::{
    git::{Mode, ObjectId, TreeEntry, Version},
    path_text,
};

/// How many paths of each kind of difference are kept; all are counted.
const KEPT: usize = 10;

/// How documents and tree compare, path by path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Paths that are in both with the same blob and mode.
    pub equal: u64,
    /// In the tree, without a document.
    pub missing: Differences,
    /// Documents of paths that are not in the tree, and second documents of a path.
    pub extra: Differences,
    pub blobs: Differences,
    pub modes: Differences,
}

/// Paths that differ in one way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    pub count: u64,
    /// The first few of them, with what was found.
    pub first: Vec<String>,
}

impl Differences {
    fn push(&mut self, path: &[u8], found: &str) {
        self.count += 1;
        if self.first.len() < KEPT {
            self.first.push(path_text::for_screen(&path_text::of_path(path)) + found);
        }
    }
}

impl Comparison {
    /// Compares a tree with documents in any order. Holds the tree: its paths and what stands there.
    pub fn of(
        tree: impl IntoIterator<Item = Result<TreeEntry>>,
        documents: impl IntoIterator<Item = Result<TreeEntry>>,
    ) -> Result<Self> {
        let mut rest = BTreeMap::new();
        for entry in tree {
            let TreeEntry { path, mode, blob } = entry?;
            rest.insert(path, Version { mode, blob });
        }
        let mut comparison = Self::default();
        for document in documents {
            let document = document?;
            let expected = rest.remove(&document.path);
            comparison.judge(&document, expected);
        }
        for path in rest.keys() {
            comparison.missing.push(path, "");
        }
        Ok(comparison)
    }

    pub fn is_equal(&self) -> bool {
        [&self.missing, &self.extra, &self.blobs, &self.modes]
            .iter()
            .all(|differences| differences.count == 0)
    }

    fn judge(&mut self, document: &TreeEntry, expected: Option<Version>) {
        let Some(expected) = expected else { return self.extra.push(&document.path, "") };
        if expected.blob != document.blob {
            let found = format!("  document {}, git {}", document.blob.short(), expected.blob.short());
            self.blobs.push(&document.path, &found);
        }
        if expected.mode != document.mode {
            let found = format!("  document {}, git {}", document.mode, expected.mode);
            self.modes.push(&document.path, &found);
        }
        if expected.blob == document.blob && expected.mode == document.mode {
            self.equal += 1;
        }
    }
}

/// A document's fields as an entry of a tree. `Invalid` when they are not what events of files carry.
pub fn entry(path: &str, mode: &str, blob: &str) -> Result<TreeEntry> {
    Ok(TreeEntry {
        path: path_text::to_path(path)?,
        mode: Mode::parse(mode.as_bytes())?,
        blob: ObjectId::parse(blob.as_bytes())?,
    })
}

/// What the demo says: one line when all is equal, else each kind of difference with its first paths.
impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return write!(f, "all {} files equal `git ls-tree`: path, blob and mode", self.equal);
        }
        write!(f, "the documents differ from `git ls-tree`; {} files are equal", self.equal)?;
        let kinds = [
            ("in git but not among the documents", &self.missing),
            ("among the documents but not in git", &self.extra),
            ("with another blob", &self.blobs),
            ("with another mode", &self.modes),
        ];
        for (kind, differences) in kinds.into_iter().filter(|(_, differences)| differences.count > 0) {
            write!(f, "\n  {} {kind}:", differences.count)?;
            for path in &differences.first {
                write!(f, "\n    {path}")?;
            }
            if differences.count > differences.first.len() as u64 {
                write!(f, "\n    …")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, digit: &str, mode: &str) -> Result<TreeEntry> {
        entry(path, mode, &digit.repeat(40))
    }

    #[test]
    fn equal_documents_are_equal_in_any_order() {
        let tree = [file("a", "1", "100644"), file("\"\\377\"", "2", "120000")];
        let documents = [file("\"\\377\"", "2", "120000"), file("a", "1", "100644")];
        let comparison = Comparison::of(tree, documents).unwrap();
        assert!(comparison.is_equal());
        assert_eq!(comparison.to_string(), "all 2 files equal `git ls-tree`: path, blob and mode");
    }

    #[test]
    fn every_kind_of_difference_is_told() {
        let tree = [
            file("equal", "1", "100644"),
            file("missing\nhere", "1", "100644"),
            file("blob", "1", "100644"),
            file("mode", "1", "100644"),
        ];
        let documents = [
            file("mode", "1", "100755"),
            file("blob", "2", "100644"),
            file("equal", "1", "100644"),
            file("equal", "1", "100644"),
            file("extra", "1", "100644"),
        ];
        let comparison = Comparison::of(tree, documents).unwrap();
        assert!(!comparison.is_equal());
        let expected = r#"the documents differ from `git ls-tree`; 1 files are equal
  1 in git but not among the documents:
    "missing\nhere"
  2 among the documents but not in git:
    equal
    extra
  1 with another blob:
    blob  document 222222222222, git 111111111111
  1 with another mode:
    mode  document 100755, git 100644"#;
        assert_eq!(comparison.to_string(), expected);
    }

    #[test]
    fn many_differences_are_counted_and_a_few_are_shown() {
        let tree = (0..1_000).map(|number| file(&format!("{number:04}"), "1", "100644"));
        let comparison = Comparison::of(tree, []).unwrap();
        assert_eq!((comparison.missing.count, comparison.missing.first.len()), (1_000, KEPT));
        assert!(comparison.to_string().ends_with("\n    0009\n    …"));
    }

    #[test]
    fn fields_that_no_event_carries_are_refused() {
        assert!(entry("a", "file", &"1".repeat(40)).is_err());
        assert!(entry("a", "100644", "").is_err());
        assert!(entry("\"", "100644", &"1".repeat(40)).is_err());
    }
}
