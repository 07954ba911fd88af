//! `run` as a process, and two controllers at once.

use crate::setting::{TOKEN, World, local_spec, plan, spec_file, telegram};
use controller::{
    keep::{Course, End, Terms, Title, pass},
    stop::Stop,
};
use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// A day of `run`, with the time between passes skipped: the autoscaler moves the desired sizes all day long, and the
/// controller says nothing and writes nothing.
#[tokio::test]
async fn a_day_in_which_only_the_autoscaler_moves_takes_no_write_and_no_word() {
    let (world, telegram) = (World::new().await, telegram().await);
    let mut spec = local_spec();
    spec.spec.telegram.api_url = telegram.url();
    let c = world.converged(spec).await;
    let said = Said::default();
    let written = said.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(move || written.clone());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let mut course = Course::new(Title::of(&c.spec), Duration::from_mins(5));
    let (mut clock, mut passes) = (Duration::ZERO, 0);
    world.aws.calls().await.unwrap();
    while clock < Duration::from_hours(24) {
        let set = c.aws.autoscaling.set_desired_capacity().auto_scaling_group_name("talo-local-yolo5");
        set.desired_capacity(1 + passes % 3).send().await.unwrap();
        // All is read anew: what is minutes old in a day is seconds old here.
        let pass = pass(&c, &Terms::default(), &(), &Stop::default()).await;
        assert_eq!(pass.end, End::Quiet, "{:?}", pass.seen.steps);
        clock += course.passed(pass.end, Instant::now(), pass.obstacles());
        passes += 1;
    }
    let calls = world.aws.calls().await.unwrap();
    let writes: Vec<_> =
        calls.iter().filter(|c| !local::aws::reads(c) && !c.ends_with(":SetDesiredCapacity")).collect();
    assert_eq!(writes, Vec::<&String>::new());
    assert!((50..300).contains(&passes), "{passes} passes");
    assert_eq!(String::from_utf8(said.0.lock().unwrap().clone()).unwrap(), "");
}

/// What is logged.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Kept {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Kept {
    fn start(world: &World, spec: &Path, extra: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(["run", "--listen", "127.0.0.1:0", "--lease", "2s", "-f"]).arg(spec).args(extra);
        command.envs(world.aws.env()).env("TELEGRAM_TOKEN", TOKEN).env("NO_COLOR", "1").kill_on_drop(true);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next line of its log that holds these words.
    async fn says(&mut self, words: &str) -> String {
        let line = async {
            loop {
                let line = self.log.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended without {words:?}"));
                if line.contains(words) {
                    return line;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), line).await.unwrap_or_else(|_| panic!("no {words:?}"))
    }

    fn terminate(&self) {
        let id = self.child.id().unwrap().to_string();
        std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    }

    /// The address of its routes, which it says first.
    async fn address(&mut self) -> String {
        let line = self.says("keeping").await;
        line.split("listen=").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn it_converges_takes_up_edits_keeps_the_last_good_spec_and_stops_when_told() {
    let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
    let spec = spec_file(folder.path(), &telegram);
    let mut kept = Kept::start(&world, &spec, &[]);
    let address = kept.address().await;
    kept.says("address=vpc/main").await;
    kept.says("address=webhook/bot").await;

    // An edit is taken up; a spoilt file is told, and the last good one stays.
    let text = std::fs::read_to_string(&spec).unwrap();
    std::fs::write(&spec, format!("{text}  queues: {{ identify: {{ visibilityTimeout: 90s }} }}\n")).unwrap();
    kept.says("the spec changed").await;
    kept.says("address=queue/identify").await;
    std::fs::write(&spec, "kind: Nonsense\n").unwrap();
    kept.says("the last good ones stay in force").await;

    let get = async |path: &str| {
        let answer = reqwest::get(format!("http://{address}/{path}")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(get("healthz").await.0, 200);
    let (_, metrics) = get("metrics").await;
    for name in [
        "polybot_passes_total{stack=\"local\",region=\"us-east-1\"",
        "polybot_drift_seconds{stack=\"local\",region=\"us-east-1\"",
        "polybot_steps_total{kind=\"vpc\",action=\"create\",end=\"done\"} 1",
        "polybot_aws_calls_total{service=\"ec2\",operation=\"CreateVpc\",status=\"200\"} 1",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }

    // What it may not read any more is told when that begins, by its log and its route, and when it ends.
    world.aws.switch("deny", serde_json::json!(["sqs:*"])).await.unwrap();
    std::fs::write(&spec, format!("{text}  queues: {{ identify: {{ visibilityTimeout: 91s }} }}\n")).unwrap();
    assert!(kept.says("could not be looked at").await.contains("queue/"));
    let (status, text) = get("readyz").await;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("queue/") && text.contains("could not be looked at"), "{text}");
    world.aws.switch("deny", serde_json::json!([])).await.unwrap();
    kept.says("nothing stands in the way any more").await;

    kept.terminate();
    kept.says("stopping").await;
    assert!(kept.child.wait().await.unwrap().success());
}

/// Steps that are in work at once, at most.
const AT_ONCE: usize = 10;

#[tokio::test]
async fn told_to_stop_in_the_middle_of_a_pass_it_ends_what_it_is_at_and_begins_nothing() {
    let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
    let spec = spec_file(folder.path(), &telegram);
    // Long enough for several steps to be in work when the first one is done.
    world.aws.switch("delay", 0.1.into()).await.unwrap();
    let mut kept = Kept::start(&world, &spec, &[]);
    kept.says("done").await;
    kept.terminate();
    kept.says("stopping").await;
    let mut ended = 0;
    while let Some(line) = kept.log.next_line().await.unwrap() {
        assert!(!line.contains("failed"), "{line}");
        ended += usize::from(line.contains("done"));
    }
    assert!(kept.child.wait().await.unwrap().success());
    assert!(ended <= AT_ONCE, "{ended} steps ended after the stop");
    // The next one goes on at once: the lease was given back.
    world.aws.switch("delay", 0.into()).await.unwrap();
    Kept::start(&world, &spec, &[]).says("address=webhook/bot").await;
}

#[tokio::test]
async fn what_it_cannot_keep_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec_file(folder.path(), &telegram().await);
    let spec = spec.to_str().unwrap();
    for (args, why) in [
        (vec!["-f", spec, "--stack", "typo"], "no stack is called typo; the files hold local"),
        (vec!["-f", "-"], "give a file or a folder"),
        (vec!["-f", spec, "--interval", "0s"], "write 90s, 30m or 1h"),
        (vec!["-f", spec, "--log", "controller=loud"], "write a level"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        let run = command.arg("run").args(&args).stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(Duration::from_secs(20), run).await.expect("it ends").unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
    }
}

#[tokio::test]
async fn two_controllers_on_one_empty_account_end_with_one_stack_and_a_killed_one_is_succeeded() {
    let (world, telegram, folder) = (World::new().await, telegram().await, tempfile::tempdir().unwrap());
    let spec = spec_file(folder.path(), &telegram);
    // The first is killed in the middle of its work, while it holds the lease.
    world.aws.switch("hold_after", 20.into()).await.unwrap();
    let mut first = Kept::start(&world, &spec, &[]);
    first.says("done").await;
    let second = Kept::start(&world, &spec, &[]);
    world.aws.held().await.unwrap();
    first.child.kill().await.unwrap();
    let third = Kept::start(&world, &spec, &[]);
    let mut stack = local_spec();
    stack.spec.telegram.api_url = telegram.url();
    let connection = world.connect(stack).await;
    world.aws.calls().await.unwrap();
    let settled = async {
        loop {
            let plan = plan(&connection).await;
            // What is made from an image waits for one.
            let fleet = ["scaling_group", "rollout", "lifecycle_hook", "scaling_policy"];
            let mut writes = plan.steps.iter().filter(|s| s.action.writes());
            if writes.all(|s| fleet.contains(&s.address.kind)) && plan.found.len() > 35 {
                return plan;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), settled).await.expect("one of the others goes on");
    world.push_images(&connection, "v1.0.0").await;
    let whole = async {
        loop {
            let plan = plan(&connection).await;
            if plan.is_settled() {
                return plan;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let plan = tokio::time::timeout(Duration::from_secs(90), whole).await.expect("it converges");
    let addresses: Vec<_> = plan.found.iter().map(|f| f.address.to_string()).collect();
    let mut unique = addresses.clone();
    unique.dedup();
    assert_eq!(addresses, unique, "one of everything");
    drop((second, third));
}
