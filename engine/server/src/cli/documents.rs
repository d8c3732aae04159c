//! `foldstream documents …`

use clap::{Args, Subcommand};

use super::ByProjection;

#[derive(Debug, Subcommand)]
pub enum DocumentsCommand {
    /// Print one document
    Get(GetDocument),
    /// Print documents in the order of their keys
    List(ListDocuments),
}

#[derive(Debug, Args)]
pub struct GetDocument {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    /// The document's key
    pub key: String,
}

#[derive(Debug, Args)]
pub struct ListDocuments {
    /// The projection, `orders` or `orders@3`; without a version the configured one
    pub projection: ByProjection,
    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only keys behind this one
    #[arg(long, value_name = "KEY")]
    pub after: Option<String>,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}
