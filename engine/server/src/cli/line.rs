//! Commands about the line as a whole: build it, test it, run it, look at it.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

use crate::running::Namespace;

/// Where the demo keeps its data, apart from that of the user's own events.
const DEMO_DATA: &str = "foldstream-demo";
const DEMO_EXIT_CODES: &str = "\
Exit codes:
  0    git finds its own tree in the documents; or interrupted, with all saved
  1    the documents differ from git's tree
  2    no git repository, no such commit, a history that does not follow what
       was taken before (use another folder with --data)
  3    the data folder cannot be used
  4    a read model was stopped or is paused, so that git cannot judge";

const HEALTH_EXIT_CODES: &str = "\
For the health check of a container, which needs no other tool then:
  HEALTHCHECK CMD [\"foldstream\", \"healthcheck\"]

Ask for liveness there: a process that is not ready yet, or not any more, is not
mended by a restart.

Exit codes:
  0    the answer was 200
  1    it was another one, or none in time
  2    wrong usage";

#[derive(Debug, Args)]
#[command(after_help = DEMO_EXIT_CODES)]
pub struct Demo {
    /// A folder inside the repository, or a bare repository
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub git: PathBuf,
    /// The last commit to take, instead of HEAD: a hash, a tag or a branch on HEAD's first-parent line
    #[arg(long, value_name = "COMMIT")]
    pub until: Option<String>,
}

/// Gives `demo` another default of `--data`.
pub fn with_data_of_its_own(command: clap::Command) -> clap::Command {
    let data = command.get_arguments().find(|argument| argument.get_id() == "data").cloned();
    command.mut_subcommand("demo", |demo| demo.args(data.map(|data| data.default_value(DEMO_DATA))))
}

#[derive(Debug, Args)]
pub struct RelaySources {
    /// The source whose event table is relayed into its stream; all that have both, if nothing is said
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Forget how far the relay is, and end: the next one begins with the oldest changes that are kept
    ///
    /// For a relay that says that changes were lost, or that the table has another stream. Not while one runs. What was
    /// relayed before comes once more, and is dropped as a repetition; what was lost is a gap, filled from the event table.
    #[arg(long)]
    pub forget: bool,
    #[command(flatten)]
    pub watching: Watching,
}

#[derive(Debug, Args)]
pub struct Init {
    /// A sample of your events: one JSON object a line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
    /// Where to write the configuration, instead of the file of `--config`
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Settle a guess: a part of an event and the field that holds it, as in `stream_id=order.id`
    #[arg(long = "map", value_name = "PART=FIELD")]
    pub map: Vec<super::MapPart>,
}

#[derive(Debug, Args)]
pub struct Validate {
    /// Also ask each service that the configuration names, once, and change nothing there
    ///
    /// Tried are credentials and region; of a Kinesis stream DescribeStreamSummary, ListShards, GetShardIterator and
    /// GetRecords, and DescribeStreamConsumer where it is read by fan-out; of the stream of a DynamoDB table DescribeStream,
    /// GetShardIterator and GetRecords; of each DynamoDB table DescribeTable and, where it is there, what is done with it:
    /// writes under a condition that no item meets, or of an item that is not there. Not tried are CreateTable,
    /// RegisterStreamConsumer and SubscribeToShard.
    #[arg(long)]
    pub online: bool,
    /// Ask for what `foldstream relay` needs, in place of `foldstream run`
    ///
    /// Of the stream of each event table DescribeStream, GetShardIterator and GetRecords; of the Kinesis stream that its changes
    /// go to DescribeStreamSummary, and PutRecords with a record that Kinesis refuses; and the table that it keeps its rows in.
    #[arg(long, requires = "online")]
    pub relay: bool,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Only tests whose name contains one of these
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Write a test from the stored events of this stream, and what they come to now
    #[arg(long, value_name = "STREAM", conflicts_with = "names")]
    pub record: Option<String>,
    /// Append the recorded test to the configuration file, instead of printing it
    #[arg(long, requires = "record")]
    pub write: bool,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Stop when every projection is level with the end of its source
    #[arg(long)]
    pub until_caught_up: bool,
    /// Rebuild embedded read models whose definition was changed, instead of refusing
    #[arg(long)]
    pub dev: bool,
    #[command(flatten)]
    pub watching: Watching,
}

/// How a process that runs for long is watched.
#[derive(Debug, Clone, Args)]
pub struct Watching {
    /// Serve /metrics, /livez and /readyz here, as in `127.0.0.1:9464`
    #[arg(long, value_name = "ADDRESS", env = "FOLDSTREAM_LISTEN", hide_env = true)]
    pub listen: Option<SocketAddr>,
    /// Print what alarms are about once a minute, for CloudWatch, under this namespace, as in `Foldstream/shop`
    ///
    /// A line of JSON on standard output, in the embedded metric format: CloudWatch Logs makes metrics of it, without an agent.
    #[arg(long, value_name = "NAMESPACE", env = "FOLDSTREAM_EMF", hide_env = true)]
    pub emf: Option<Namespace>,
}

#[derive(Debug, Args)]
#[command(after_help = HEALTH_EXIT_CODES)]
pub struct Healthcheck {
    /// Ask whether it does its work (/readyz) instead of whether the process answers (/livez)
    #[arg(long)]
    pub ready: bool,
    /// Where `foldstream run` or `relay` serves on this machine, as it was told
    #[arg(long, value_name = "ADDRESS", env = "FOLDSTREAM_LISTEN", hide_env = true)]
    pub listen: SocketAddr,
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub timeout: u64,
}

#[derive(Debug, Args)]
pub struct Status {}

#[derive(Debug, Args)]
pub struct Audit {
    /// Only the last so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}
