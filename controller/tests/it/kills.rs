//! The real program, killed (SIGKILL) at a write call: before AWS has acted, or after it has and before the answer came. A
//! kill after the answer is one before the next call. Whatever was going on, the next run ends in exactly what an
//! undisturbed one makes.
//!
//! A sample of the points runs with all tests; `make test-exhaustive` runs all of them.

use crate::setting::{TOKEN, World, local_spec, plan, settle, settle_for, writes};
use controller::{
    reconcile::{Allow, Connection, Goal},
    spec::PolybotStack,
};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::{Child, Command};

/// What is going on when the program dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum During {
    /// From nothing, with images in the registry as soon as there is one.
    Converge,
    /// A change of many kinds of a stack that stands, a new image among them.
    Update,
    /// New images of both services reach the instances of a stack that stands.
    Rollout,
    /// A stack that stands is removed, with its data.
    Destroy,
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    during: During,
    /// Of the write calls, from 1.
    call: usize,
    /// Whether AWS has acted.
    acted: bool,
}

/// A stack of its own, as a file and as a connection.
struct Try<'a> {
    world: &'a World,
    file: PathBuf,
    stack: PolybotStack,
}

impl<'a> Try<'a> {
    fn new(world: &'a World, folder: &Path, n: usize) -> Self {
        let mut stack = local_spec();
        stack.metadata.name = Some(format!("kill{n}"));
        stack.spec.environment = format!("k{n}");
        stack.spec.domain.name = format!("k{n}.int-devops.click");
        let this = Self { world, file: folder.join(format!("{n}.yaml")), stack };
        this.save();
        this
    }

    fn save(&self) {
        // JSON is YAML.
        std::fs::write(&self.file, serde_json::to_string_pretty(&self.stack).unwrap()).unwrap();
    }

    async fn connect(&self) -> Connection {
        self.world.connect(self.stack.clone()).await
    }

    fn program(&self, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        command.args(args).args(["--poll", "50ms", "--lease", "300ms", "-f"]).arg(&self.file);
        command.envs(self.world.aws.env()).env("TELEGRAM_TOKEN", TOKEN).kill_on_drop(true);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts what is going to be killed, or what finishes it.
    fn start(&self, during: During) -> Child {
        match during {
            During::Converge | During::Update | During::Rollout => {
                self.program(&["apply", "--yes", "--max-deletions", "9"])
            }
            During::Destroy => {
                let name = self.stack.metadata.name.clone().unwrap();
                self.program(&["destroy", "--with-data", "all", "--confirm", &name])
            }
        }
    }

    /// What must be there before.
    async fn prepare(&mut self, during: During) {
        if during == During::Converge {
            return;
        }
        self.world.converged(self.stack.clone()).await;
        if matches!(during, During::Update | During::Rollout) {
            self.world.push_images(&self.connect().await, "v2.0.0").await;
        }
        if during == During::Rollout {
            let spec = &mut self.stack.spec;
            spec.polybot.image.tag = Some("v2.0.0".into());
            spec.yolo5.as_mut().unwrap().image.tag = Some("v2.0.0".into());
            self.save();
        }
        if during == During::Update {
            let spec = &mut self.stack.spec;
            spec.network.zones = 3;
            spec.polybot.image.tag = Some("v2.0.0".into());
            spec.queues.identify.max_receives = 9;
            spec.notifications[0].email = "other@example.com".into();
            spec.bucket.versioning = false;
            spec.telegram.sources.pop();
            spec.tags.insert("Team".into(), "ops".into());
            self.save();
        }
    }

    /// Finishes it as the next run would, and what is then there: how many of each address.
    async fn finish(&self, during: During) -> BTreeMap<String, usize> {
        self.start(during).wait().await.unwrap();
        let connection = self.connect().await;
        if during == During::Destroy {
            let all = Allow { with_data: vec!["all".into()], ..Allow::default() };
            settle_for(&connection, Goal::Destroy, &all).await;
            return count(&connection.look(Goal::Destroy, &all).await.1);
        }
        self.world.push_images(&connection, "v1.0.0").await;
        settle(&connection).await;
        let plan = plan(&connection).await;
        assert_eq!(writes(&plan), Vec::<String>::new());
        count(&plan)
    }

    async fn remove(&self) {
        let all = Allow { with_data: vec!["all".into()], ..Allow::default() };
        settle_for(&self.connect().await, Goal::Destroy, &all).await;
    }
}

fn count(plan: &controller::engine::Plan) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    // Former versions of a launch template stay, so that there is something to go back to.
    for found in plan.found.iter().filter(|f| f.address.kind != "launch_template_version") {
        // Names that AWS makes up differ from stack to stack.
        *count.entry(found.address.to_string()).or_default() += 1;
    }
    count
}

/// What an undisturbed run makes, and how many write calls it takes.
async fn undisturbed(world: &World, folder: &Path, during: During, n: usize) -> (BTreeMap<String, usize>, usize) {
    let mut tried = Try::new(world, folder, n);
    tried.prepare(during).await;
    world.aws.calls().await.unwrap();
    tried.start(during).wait().await.unwrap();
    let calls = world.aws.calls().await.unwrap();
    let made = tried.finish(during).await;
    tried.remove().await;
    (made, calls.iter().filter(|call| !local::aws::reads(call)).count())
}

async fn killed(world: &World, folder: &Path, n: usize, point: Point, expected: &BTreeMap<String, usize>) {
    let mut tried = Try::new(world, folder, n);
    tried.prepare(point.during).await;
    let switch = if point.acted { "hold_after" } else { "hold_before" };
    world.aws.switch(switch, point.call.into()).await.unwrap();
    let mut program = tried.start(point.during);
    tokio::select! {
        held = world.aws.held() => {
            held.unwrap();
            program.kill().await.unwrap();
        }
        // The last calls of a run that polls may not come a second time.
        _ = program.wait() => world.aws.switch(switch, 0.into()).await.unwrap(),
    }
    let made = tried.finish(point.during).await;
    assert_eq!(made, *expected, "{point:?}");
    tried.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_the_program_is_killed_at_the_next_run_ends_as_an_undisturbed_one() {
    let exhaustive = std::env::var_os("EXHAUSTIVE").is_some();
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_u64);
    let folder = tempfile::tempdir().unwrap();
    let (mut expected, mut points) = (BTreeMap::new(), vec![]);
    let world = World::new().await;
    let all = [During::Converge, During::Update, During::Rollout, During::Destroy];
    for (n, during) in all.into_iter().enumerate() {
        let (made, calls) = undisturbed(&world, folder.path(), during, n).await;
        assert!(calls > 5, "{during:?}: {calls} calls");
        println!("{during:?}: {calls} write calls");
        expected.insert(during, made);
        points.extend((1..=calls).flat_map(|call| [false, true].map(|acted| Point { during, call, acted })));
    }
    if !exhaustive {
        points.shuffle(&mut StdRng::seed_from_u64(seed));
        points.truncate(20);
    }
    println!("{} kills, seed {seed}", points.len());
    // Two accounts, so that two kills can go on at once.
    let worlds = [world, World::new().await];
    let halves = worlds.iter().enumerate().map(|(half, world)| {
        let (points, expected, folder) = (&points, &expected, folder.path());
        async move {
            for (n, point) in points.iter().enumerate().filter(|(n, _)| n % 2 == half) {
                let one = killed(world, folder, 10 + n, *point, &expected[&point.during]);
                let in_time = tokio::time::timeout(Duration::from_mins(2), one).await;
                in_time.unwrap_or_else(|_| panic!("{point:?} takes for ever"));
                if exhaustive {
                    println!("{point:?}: healed");
                }
            }
        }
    });
    futures::future::join_all(halves).await;
}
