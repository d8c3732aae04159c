/// Where the engine keeps what it knows: journals, checkpoints, leases, parked events, what operators did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In the embedded database, for one machine.
    #[default]
    Local,
    /// In one DynamoDB table of this name, for a fleet.
    Dynamodb { table: String },
}
