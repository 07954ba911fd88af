//! The real program, killed (SIGKILL) at a write call: before AWS has acted, after it has and before the answer came, or after
//! the answer. Whatever was going on, the next run of the same command ends in exactly what an undisturbed one makes, and says
//! that it did.
//!
//! A sample of the points runs with all tests; `make test-exhaustive` runs all of them. Each is tried on a copy of an account in
//! which everything up to it was done once.

use crate::setting::{TOKEN, World, both, local_spec, plan, writes};
use controller::{
    engine::Plan,
    reconcile::{Allow, Connection, Goal},
    spec::PolybotStack,
};
use futures::StreamExt;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::process::Command;

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

/// When it dies, seen from a write call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum When {
    /// Before AWS has acted.
    Before,
    /// After AWS has acted, and before the answer came.
    Acted,
    /// After the answer.
    Answered,
}

/// One kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Point {
    during: During,
    /// Of the write calls, from 1.
    call: usize,
    when: When,
}

/// What a run ends in: how many there are of each address, as the controller sees it, and how many of each kind, as AWS does.
type Made = (BTreeMap<String, usize>, BTreeMap<String, usize>);

/// An account in which all is done that must be there before, and what the program is told to do next.
struct Scene {
    during: During,
    world: World,
    stack: PolybotStack,
    /// The spec.
    file: PathBuf,
}

impl Scene {
    async fn new(during: During, folder: &Path) -> Self {
        let mut stack = local_spec();
        let world = World::new().await;
        if during != During::Converge {
            world.converged(stack.clone()).await;
        }
        if matches!(during, During::Update | During::Rollout) {
            world.push_images(&world.connect(stack.clone()).await, "v2.0.0").await;
            let spec = &mut stack.spec;
            spec.polybot.image.tag = Some("v2.0.0".into());
            if during == During::Rollout {
                spec.yolo5.as_mut().unwrap().image.tag = Some("v2.0.0".into());
            } else {
                spec.network.zones = 3;
                spec.queues.identify.max_receives = 9;
                spec.notifications[0].email = "other@example.com".into();
                spec.bucket.versioning = false;
                spec.telegram.sources.pop();
                spec.tags.insert("Team".into(), "ops".into());
            }
        }
        let file = folder.join(format!("{during:?}.yaml"));
        // JSON is YAML.
        std::fs::write(&file, serde_json::to_string_pretty(&stack).unwrap()).unwrap();
        Self { during, world, stack, file }
    }

    /// What is going to be killed, or what finishes it.
    fn command(&self, world: &World) -> Command {
        let name = self.stack.metadata.name.clone().unwrap();
        let args = match self.during {
            During::Converge | During::Update | During::Rollout => vec!["apply", "--yes", "--max-deletions", "9"],
            During::Destroy => vec!["destroy", "--with-data", "all", "--confirm", &name],
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_controller"));
        // The next run waits this long for the lease of the dead one; on a busy machine it would lose a shorter one itself.
        command.args(args).args(["--poll", "50ms", "--lease", "5s", "-f"]).arg(&self.file);
        command.envs(world.aws.env()).env("TELEGRAM_TOKEN", TOKEN).kill_on_drop(true);
        command
    }

    /// Runs it to its end. Nothing may fail; a Telegram that is not there, and images that are not pushed, are waited for.
    /// What it said.
    async fn run(&self, world: &World, after: &str) -> String {
        let output = self.command(world).output().await.unwrap();
        let (code, said) = (output.status.code(), both(&output));
        let expected: &[_] = if self.during == During::Destroy { &[0] } else { &[0, 2] };
        assert!(code.is_some_and(|code| expected.contains(&code)), "{after}: ended with {code:?}: {said}");
        said
    }

    /// The next run, and what is then there.
    async fn finish(&self, world: &World, after: &str) -> Made {
        let mut said = self.run(world, after).await;
        let connection = world.connect(self.stack.clone()).await;
        if self.during == During::Converge {
            world.push_images(&connection, "v1.0.0").await;
            said = self.run(world, after).await;
        }
        let plan = self.plan(&connection).await;
        assert_eq!(writes(&plan), Vec::<String>::new(), "{after}: {plan}{said}");
        (count(&plan), world.aws.inventory().await.unwrap())
    }

    async fn plan(&self, connection: &Connection) -> Plan {
        if self.during != During::Destroy {
            return plan(connection).await;
        }
        let all = Allow { with_data: vec!["all".into()], ..Allow::default() };
        connection.look(Goal::Destroy, &all).await.1
    }

    /// What an undisturbed run makes, and how many write calls it takes.
    async fn undisturbed(&self) -> (Made, usize) {
        let world = self.world.fork().await;
        world.aws.calls().await.unwrap();
        let nothing = format!("{:?}, undisturbed", self.during);
        self.run(&world, &nothing).await;
        let calls = world.aws.calls().await.unwrap();
        let made = self.finish(&world, &nothing).await;
        world.aws.end().await;
        (made, calls.iter().filter(|call| !local::aws::reads(call)).count())
    }

    /// A killed run and the next one. Whether it was killed: the last calls of a run that polls may not come a second time.
    async fn killed(&self, point: Point, expected: &Made) -> bool {
        let world = self.world.fork().await;
        let switch = match point.when {
            When::Before => "hold_before",
            When::Acted => "hold_after",
            When::Answered => "tell_after",
        };
        world.aws.switch(switch, point.call.into()).await.unwrap();
        let mut program = self.command(&world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let killed = tokio::select! {
            held = world.aws.held() => {
                held.unwrap();
                program.kill().await.unwrap();
                true
            }
            _ = program.wait() => {
                world.aws.switch(switch, 0.into()).await.unwrap();
                false
            }
        };
        let after = format!("{point:?}");
        assert_eq!(self.finish(&world, &after).await, *expected, "{after}");
        world.aws.end().await;
        killed
    }
}

fn count(plan: &Plan) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    // Former versions of a launch template stay, so that there is something to go back to.
    for found in plan.found.iter().filter(|f| f.address.kind != "launch_template_version") {
        // Names that AWS makes up differ from stack to stack.
        *count.entry(found.address.to_string()).or_default() += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_call_the_program_is_killed_at_the_next_run_ends_as_an_undisturbed_one() {
    let exhaustive = std::env::var_os("EXHAUSTIVE").is_some();
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_u64);
    let folder = tempfile::tempdir().unwrap();
    let all = [During::Converge, During::Update, During::Rollout, During::Destroy];
    let scenes = futures::future::join_all(all.map(|during| Scene::new(during, folder.path()))).await;
    let (mut expected, mut points) = (BTreeMap::new(), vec![]);
    for scene in &scenes {
        let (made, calls) = scene.undisturbed().await;
        let during = scene.during;
        assert!(calls > 5, "{during:?}: {calls} calls");
        println!("{during:?}: {calls} write calls");
        expected.insert(during, made);
        let when = [When::Before, When::Acted, When::Answered];
        points.extend((1..=calls).flat_map(|call| when.map(|when| Point { during, call, when })));
    }
    points.shuffle(&mut StdRng::seed_from_u64(seed));
    // To go on where another run has ended: what it has printed.
    if let Some(log) = std::env::var_os("DONE") {
        let log = std::fs::read_to_string(log).unwrap();
        points.retain(|point| !log.contains(&format!("{point:?}: healed")));
    }
    if !exhaustive {
        points.truncate(20);
    }
    println!("{} kills, seed {seed}", points.len());
    let tries = points.iter().map(|point| {
        let scene = &scenes[all.iter().position(|during| *during == point.during).unwrap()];
        let expected = &expected[&point.during];
        async move {
            let one = tokio::time::timeout(Duration::from_mins(2), scene.killed(*point, expected));
            let killed = one.await.unwrap_or_else(|_| panic!("{point:?} takes for ever"));
            if exhaustive {
                println!("{point:?}: {}", if killed { "healed" } else { "not reached" });
            }
            killed
        }
    });
    // An account is copied while nothing else is asked of it: `fork` is one call, and the copies go their own ways.
    // Half of their time they wait for the lease of the dead.
    let killed: Vec<bool> = futures::stream::iter(tries).buffer_unordered(4).collect().await;
    let reached = killed.iter().filter(|killed| **killed).count();
    println!("{reached} of {} killed, all healed", points.len());
    assert!(reached * 20 >= points.len() * 19, "only {reached} of {} points were reached", points.len());
}
