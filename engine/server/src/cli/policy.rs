//! `foldstream config policy`

use clap::Args;

/// The region is that of `--region` or AWS_REGION.
#[derive(Debug, Args)]
pub struct ConfigPolicy {
    /// The account in the ARNs, twelve digits; any account if not given
    #[arg(long, value_name = "ID", default_value = "*", hide_default_value = true)]
    pub account: String,
    /// The part of AWS in the ARNs, such as `aws-cn`
    #[arg(long, value_name = "NAME", default_value = "aws")]
    pub partition: String,
    /// What `foldstream relay` needs, in place of `foldstream run`
    #[arg(long, conflicts_with = "operator")]
    pub relay: bool,
    /// Also what commands of an operator need: list documents, delete projections
    #[arg(long)]
    pub operator: bool,
}
