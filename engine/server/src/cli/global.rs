//! Options that several commands share.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;
use foldstream_model::ProjectionId;

use crate::output::Format;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file
    #[arg(short, long, global = true, value_name = "FILE", env = "FOLDSTREAM_CONFIG")]
    #[arg(default_value = "foldstream.yaml", hide_env = true, help_heading = "Global options")]
    pub config: PathBuf,

    /// How to print: for people, or as JSON
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "text")]
    #[arg(help_heading = "Global options")]
    pub output: Format,

    /// The folder of the embedded store
    #[arg(long, global = true, value_name = "DIR", env = "FOLDSTREAM_DATA")]
    #[arg(default_value = "foldstream-data", hide_env = true, help_heading = "Global options")]
    pub data: PathBuf,

    /// The AWS region, in place of the environment's
    #[arg(long, global = true, value_name = "REGION", help_heading = "Global options")]
    pub region: Option<String>,

    /// The AWS profile, in place of the environment's
    #[arg(long, global = true, value_name = "NAME", help_heading = "Global options")]
    pub profile: Option<String>,

    /// Say less on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,

    /// Say more on standard error; twice: everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Global options")]
    pub verbose: u8,
}

/// A projection as users name it: `orders`, or `orders@3` for one version of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByProjection {
    pub name: String,
    pub version: Option<u32>,
}

impl ByProjection {
    /// The one that is meant, when the version is known.
    pub fn at(&self, version: u32) -> ProjectionId {
        ProjectionId::new(&self.name, self.version.unwrap_or(version))
    }

    pub fn includes(&self, projection: &ProjectionId) -> bool {
        projection.name.as_str() == self.name
            && self.version.is_none_or(|version| version == projection.version.0)
    }
}

impl FromStr for ByProjection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            None => (text, None),
            Some((name, version)) => match version.parse() {
                Ok(version) => (name, Some(version)),
                Err(_) => return Err(format!("a version is a number, as in `{name}@2`")),
            },
        };
        match name {
            "" => Err("the name of a projection is missing".to_owned()),
            _ => Ok(Self { name: name.to_owned(), version }),
        }
    }
}

impl fmt::Display for ByProjection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Options of what changes something and is audited.
#[derive(Debug, Clone, Args)]
pub struct Audited {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Why; kept in the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Options of what is asked about first, as it cannot be undone.
#[derive(Debug, Clone, Args)]
pub struct Permission {
    #[command(flatten)]
    pub audited: Audited,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projection_is_named_with_or_without_its_version() {
        let parse = |text: &str| text.parse::<ByProjection>();
        assert_eq!(parse("orders").unwrap(), ByProjection { name: "orders".into(), version: None });
        assert_eq!(parse("orders@3").unwrap().to_string(), "orders@3");
        assert!(parse("orders@three").is_err() && parse("@3").is_err());
    }
}
