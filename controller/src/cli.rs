//! The command line: types only.

use crate::operator::AllowedRole;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Converges a whole Polybot stack on AWS from one declarative spec, and keeps it that way.
#[derive(Debug, Parser)]
#[command(name = "controller", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Form of the log on standard error.
    #[arg(long, global = true, env = contract::env::LOG_FORMAT, default_value = "text", value_enum)]
    pub log_format: LogFormat,
    /// What to log, for instance `info` or `controller=debug`; `info` for `run` and `operate` where absent, else `warn`.
    #[arg(long, global = true, env = "RUST_LOG", value_parser = log_filter)]
    pub log: Option<String>,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check specs without asking AWS anything, and print the names the stacks will use.
    Validate(Specs),
    /// Show what `apply` would do. Reads only. Exit 0: nothing, 2: something, 1: error.
    Plan(PlanArgs),
    /// Tell what was changed in AWS from what is new in the spec. Reads only. Exit 0: in sync, 3: drift, 2: pending, 4: both,
    /// 5: not everything could be checked, 1: error.
    Drift(DriftArgs),
    /// Make AWS what the spec says. Exit 0: converged, 2: still waiting, 1: something failed or needs a person.
    Apply(ApplyArgs),
    /// Keep stacks as the files say, until told to stop: a pass when a file changes and every few minutes.
    Run(RunArgs),
    /// Keep the stacks that a Kubernetes cluster holds as PolybotStack objects, until told to stop.
    Operate(OperateArgs),
    /// Remove a stack. What holds data stays unless it is named with --with-data.
    Destroy(DestroyArgs),
    /// Show every resource with its id and phase, and the stack's outputs.
    Status(StatusArgs),
    /// Draw the stack.
    Graph(GraphArgs),
    /// Judge how safe a spec's stack is, without asking AWS. Exit 0: no rule fails, 2: some do, 1: error.
    Check(CheckArgs),
    /// Sum up what a spec's stack costs a month, without asking AWS.
    Cost(CostArgs),
    /// Change which images a spec names.
    Image(ImageArgs),
    /// Send jobs to the detector at a steady rate, and tell how it and its group keep up. Exit 0: all answered, 2: not all,
    /// 1: error.
    LoadTest(LoadTestArgs),
    /// Tell how a new version fares on its way to the instances, and pause, undo or retry it.
    Rollout(RolloutArgs),
    /// Print the least IAM policy that the controller itself needs for a stack.
    IamPolicy(IamPolicyArgs),
    /// Print the JSON schema of the spec, for editors, or of the reports, for programs.
    Schema(SchemaArgs),
    /// Print the Kubernetes CustomResourceDefinition.
    Crd,
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Which specs.
#[derive(Clone, Debug, Args)]
pub struct Specs {
    /// A file, a folder, or - for standard input; may be repeated.
    #[arg(short = 'f', long = "file", required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Only the stacks of this name; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub stack: Vec<String>,
}

/// What `plan` and `apply` share.
#[derive(Clone, Debug, Default, Args)]
pub struct Allow {
    /// Data at this address may go, for instance table/predictions; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub with_data: Vec<String>,
    /// This address may be replaced though it takes others with it, for instance vpc/main; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub replace: Vec<String>,
}

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// What the plan may do.
    #[command(flatten)]
    pub allow: Allow,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: PlanFormat,
    /// Also find out what would stop an apply half-way: permissions, quotas, names, images. Exit 1 where something would.
    #[arg(long)]
    pub preflight: bool,
    /// The specs as they were before, for the difference in cost.
    #[arg(long, value_name = "PATH")]
    pub base: Option<PathBuf>,
    /// Show the plan of `destroy` instead.
    #[arg(long)]
    pub destroy: bool,
    /// Also write the job summary and the outputs of GitHub Actions.
    #[arg(long)]
    pub github: bool,
}

/// Arguments of `drift`.
#[derive(Debug, Args)]
pub struct DriftArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: DriftFormat,
    /// Also write the job summary and the outputs of GitHub Actions.
    #[arg(long)]
    pub github: bool,
}

/// Form of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people.
    Text,
    /// For programs; `schema --of report` prints its schema.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

/// Form of a drift report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DriftFormat {
    /// For people.
    Text,
    /// For programs; `schema --of report` prints its schema.
    Json,
    /// For an issue.
    Markdown,
    /// For code scanning.
    Sarif,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: CheckFormat,
}

/// Form of a judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people: what fails and what is waived.
    Text,
    /// For programs: every rule on every resource.
    Json,
    /// For code scanning.
    Sarif,
}

/// Arguments of `cost`.
#[derive(Debug, Args)]
pub struct CostArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: CostFormat,
}

/// Form of a cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CostFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `image`.
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: ImageCommand,
}

/// What can be done about images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Write another tag or digest into a spec's file; comments and all else stay as they are.
    Set {
        /// The file.
        #[arg(short = 'f', long = "file", value_name = "PATH")]
        file: PathBuf,
        /// Only in the stacks of this name; may be repeated.
        #[arg(long, value_name = "NAME")]
        stack: Vec<String>,
        /// Of which service.
        #[arg(value_enum)]
        service: crate::stack::Service,
        /// The tag, or the digest: sha256:…
        image: String,
    },
}

/// Arguments of `load-test`.
#[derive(Debug, Args)]
pub struct LoadTestArgs {
    /// Which spec.
    #[command(flatten)]
    pub specs: Specs,
    /// A folder of pictures; jobs take turns on them.
    #[arg(long, value_name = "DIR")]
    pub images: PathBuf,
    /// Jobs a second.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub rate: u32,
    /// How long jobs are sent.
    #[arg(long, default_value = "1m", value_parser = duration)]
    pub duration: Duration,
    /// How long the last answers are waited for after that.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub drain: Duration,
    /// Form of the report.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: LoadTestFormat,
    /// Also draw depth of the queue, workers and latency over time into this file.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// Form of the report of a load test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadTestFormat {
    /// For people.
    Text,
    /// For programs, with every sample.
    Json,
}

/// Arguments of `rollout`.
#[derive(Debug, Args)]
pub struct RolloutArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: RolloutCommand,
}

/// What can be said about rollouts.
#[derive(Debug, Subcommand)]
pub enum RolloutCommand {
    /// Tell what runs, what is on its way, and how the last ones ended. Reads only.
    Status {
        /// Which specs.
        #[command(flatten)]
        specs: Specs,
        /// Form of the output.
        #[arg(short, long, value_enum, default_value = "text")]
        output: RolloutFormat,
    },
    /// Break off what is on its way, and roll nothing out until `resume`.
    Pause {
        /// Which specs.
        #[command(flatten)]
        specs: Specs,
        /// Of which service; of both where absent.
        #[arg(value_enum)]
        service: Option<crate::stack::Service>,
    },
    /// Take back `pause`, or else `undo`: what the spec says is rolled out.
    Resume {
        /// Which specs.
        #[command(flatten)]
        specs: Specs,
        /// Of which service; of both where absent.
        #[arg(value_enum)]
        service: Option<crate::stack::Service>,
    },
    /// Go back to the good version before this one, and stay there until the spec stands for another.
    Undo {
        /// Which specs.
        #[command(flatten)]
        specs: Specs,
        /// Of which service.
        #[arg(value_enum)]
        service: crate::stack::Service,
    },
    /// Try a version once more that failed.
    Retry {
        /// Which specs.
        #[command(flatten)]
        specs: Specs,
        /// Of which service; of both where absent.
        #[arg(value_enum)]
        service: Option<crate::stack::Service>,
    },
}

impl RolloutCommand {
    /// Which specs.
    pub fn specs(&self) -> &Specs {
        match self {
            Self::Status { specs, .. }
            | Self::Pause { specs, .. }
            | Self::Resume { specs, .. }
            | Self::Undo { specs, .. }
            | Self::Retry { specs, .. } => specs,
        }
    }
}

/// Form of `rollout status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RolloutFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Arguments of `iam-policy`.
#[derive(Debug, Args)]
pub struct IamPolicyArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Account that the policy is for; the spec's own, or any, where absent.
    #[arg(long, value_name = "ACCOUNT")]
    pub account: Option<String>,
    /// Only what `plan` and `drift` need.
    #[arg(long)]
    pub read_only: bool,
    /// Instead, what whoever starts the controller needs to take the roles that the specs name (spec.assumeRole).
    #[arg(long, conflicts_with_all = ["read_only", "account"])]
    pub caller: bool,
    /// Instead, what `load-test` needs, and no more.
    #[arg(long, conflicts_with_all = ["read_only", "caller"])]
    pub load_test: bool,
    /// Only this one of the parts, from 1, that each fit into a managed policy.
    #[arg(long, value_name = "N", conflicts_with = "caller")]
    pub part: Option<usize>,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what.
    #[arg(long, value_enum, default_value = "spec")]
    pub of: SchemaOf,
}

/// What has a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// A spec.
    Spec,
    /// What `plan` and `drift` print with `-o json`.
    Report,
}

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// What the plan may do.
    #[command(flatten)]
    pub allow: Allow,
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Go on only if the plan has this digest (printed by `plan`); may be repeated for several stacks.
    #[arg(long, value_name = "DIGEST")]
    pub expect: Vec<String>,
    /// More resources than this may not be deleted or replaced in one go; the spec's own limit where absent.
    #[arg(long, value_name = "N")]
    pub max_deletions: Option<usize>,
    /// How passes are paced.
    #[command(flatten)]
    pub pace: Pace,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Time between two passes over a stack at rest, spread by a tenth; twice that after twelve quiet ones, four times after
    /// twelve more.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub interval: Duration,
    /// How long this program may be silent before another one takes over.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub lease: Duration,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub listen: std::net::SocketAddr,
}

/// Arguments of `operate`.
#[derive(Debug, Args)]
pub struct OperateArgs {
    /// Only the objects of this namespace; those of all namespaces where absent.
    #[arg(long, value_name = "NAME", env = "POLYBOT_NAMESPACE")]
    pub namespace: Option<String>,
    /// Only objects with these labels, such as team=ops.
    #[arg(long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// A role that stacks of a namespace may name in spec.assumeRole, such as
    /// team-a=arn:aws:iam::123456789012:role/team-a-*; each side may end with a star; may be repeated. No other one is taken.
    #[arg(long, value_name = "NAMESPACE=ARN")]
    pub allow_role: Vec<AllowedRole>,
    /// Time between two passes over a stack at rest, spread by a tenth; twice that after twelve quiet ones, four times after
    /// twelve more. A stack's own spec.cluster.driftPeriod goes before it, and is kept.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub interval: Duration,
    /// Stacks that are passed over at once.
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub concurrency: u16,
    /// How long the replica that leads may be silent before another one takes over.
    #[arg(long, default_value = "15s", value_parser = duration)]
    pub lease: Duration,
    /// Namespace of the Lease by which replicas elect who leads.
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "default")]
    pub lease_namespace: String,
    /// Name of that Lease.
    #[arg(long, value_name = "NAME", default_value = "polybot-controller")]
    pub lease_name: String,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub listen: std::net::SocketAddr,
}

/// How passes are paced.
#[derive(Clone, Debug, Args)]
pub struct Pace {
    /// Give up waiting after this long, for instance 30m or 90s.
    #[arg(long, default_value = "30m", value_parser = duration)]
    pub timeout: Duration,
    /// Time between two passes while AWS is at work.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub poll: Duration,
    /// One pass only: what has to wait is left to the next run.
    #[arg(long)]
    pub once: bool,
    /// How long this run may be silent before another one takes over.
    #[arg(long, default_value = "60s", value_parser = duration)]
    pub lease: Duration,
}

/// Arguments of `destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Do not ask for the stack's name; may be repeated for several stacks.
    #[arg(long, value_name = "NAME")]
    pub confirm: Vec<String>,
    /// Data at this address goes too, or `all`; may be repeated.
    #[arg(long, value_name = "ADDRESS")]
    pub with_data: Vec<String>,
    /// How passes are paced.
    #[command(flatten)]
    pub pace: Pace,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: StatusFormat,
    /// Whose variables `-o env` prints.
    #[arg(long, value_enum, default_value = "polybot")]
    pub service: crate::stack::Service,
}

/// Form of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For programs.
    Yaml,
    /// `export NAME=value` lines, as the instances get them.
    Env,
}

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Which specs.
    #[command(flatten)]
    pub specs: Specs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "mermaid")]
    pub output: GraphFormat,
}

/// Form of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// Mermaid, which GitHub draws.
    Mermaid,
    /// Graphviz.
    Dot,
}

/// A filter as tracing reads it.
fn log_filter(text: &str) -> Result<String, String> {
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; write a level (error, warn, info, debug, trace) or controller=debug")),
    }
}

/// `90s`, `30m`, `1h`; more than nothing.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 90s, 30m or 1h");
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "s" | "" => 1000,
        "m" => 60 * 1000,
        "h" => 3600 * 1000,
        _ => return Err(wrong()),
    };
    let all = number.checked_mul(millis).filter(|n| *n > 0);
    all.map(Duration::from_millis).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30m"), Ok(Duration::from_mins(30)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        for wrong in ["soon", "0s", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
