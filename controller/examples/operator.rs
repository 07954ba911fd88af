//! What an operator of many stacks costs at rest: memory, processor time and calls of AWS, by service.
//!
//! usage: operator CONTROLLER STACKS[,STACKS...] [SECONDS]: the program to measure, how many stacks, how long to watch them at
//! rest (ten passes of each by default: in nine of them a hundred stacks ask once for every detail).
//!
//! The stacks are made in the local AWS first, each with a bot of its own. Then all is counted over a while in which nothing
//! happens. Passes of up to ten stacks come ten times as often as by default, so that the while can be short (of more, as often
//! as the one process that stands for AWS can answer: one a second). All that goes by time goes by the interval, so what is counted is
//! scaled to the default pace.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot be taken has failed")]

use axum::{
    Json, Router,
    extract::{Path, State},
};
use local::{aws::LocalAws, kube::LocalKube};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const STACKS: &str = "apis/polybot.dev/v1alpha1/namespaces/default/polybotstacks";
const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/bench@sha256:0000000000000000000000000000000000000000000000000000000000000000";
/// Passes over a stack at rest in an hour, by default: at first, and after two hours of quiet.
const PASSES: [f64; 2] = [12.0, 3.0];
/// Between two passes over a stack by default, and at the soonest here.
const INTERVALS: [u64; 2] = [300, 30];
/// Of these the stacks of a region share what they can: the calls are to be about the same however many they are.
const SHARED: [&str; 3] = ["ec2", "elasticloadbalancing", "autoscaling"];
/// How much more of them many stacks may ask than few, and what the operator may take of the memory, MB.
const GOALS: (f64, f64) = (1.25, 150.0);

/// As many bots as there are tokens; each remembers its webhook.
async fn telegram() -> String {
    type Hooks = Arc<Mutex<BTreeMap<String, String>>>;
    async fn answer(
        State(hooks): State<Hooks>,
        Path((bot, method)): Path<(String, String)>,
        body: String,
    ) -> Json<Value> {
        let mut hooks = hooks.lock().unwrap();
        let field = |name: &str| {
            let part = body.split_once(&format!("name=\"{name}\"\r\n\r\n"))?.1;
            Some(part.split("\r\n").next()?.to_owned())
        };
        if method == "setWebhook" {
            let hook = json!({
                "url": field("url"), "max_connections": field("max_connections").and_then(|n| n.parse::<u32>().ok()),
                "allowed_updates": field("allowed_updates").and_then(|u| serde_json::from_str::<Value>(&u).ok()),
                "has_custom_certificate": true, "pending_update_count": 0,
            });
            hooks.insert(bot, hook.to_string());
            return Json(json!({ "ok": true, "result": true }));
        }
        let hook = hooks.get(&bot).map_or_else(|| json!({ "url": "" }), |h| serde_json::from_str(h).unwrap());
        Json(json!({ "ok": true, "result": hook }))
    }
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/{bot}/{method}", axum::routing::post(answer)).with_state(Hooks::default());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}

fn stack(n: usize, telegram: &str) -> Value {
    json!({
        "apiVersion": "polybot.dev/v1alpha1", "kind": "PolybotStack", "metadata": { "name": format!("bench{n}") },
        "spec": {
            "prefix": "talo", "environment": format!("b{n}"), "region": "us-east-1",
            "domain": { "hostedZone": "int-devops.click", "name": format!("b{n}.int-devops.click") },
            "telegram": { "apiUrl": telegram, "token": { "kubernetesSecret": { "name": "tokens", "key": format!("b{n}") } } },
            "polybot": { "image": { "uri": IMAGE } },
            "yolo5": { "image": { "uri": IMAGE } },
        }
    })
}

/// Resident memory in MB, its peak, and the processor time in seconds so far.
fn usage(child: &Child) -> (f64, f64, f64) {
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", child.id())).unwrap();
    let status = of("status");
    let field = |name: &str| -> f64 {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    };
    let stat = of("stat");
    let after: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = after[11].parse::<f64>().unwrap() + after[12].parse::<f64>().unwrap();
    (field("VmRSS:"), field("VmHWM:"), ticks / 100.0)
}

/// How many stacks are ready, and what one of the others says of itself.
fn ready(kube: &LocalKube) -> (usize, String) {
    let all = kube.list(STACKS);
    let is = |s: &&Value| {
        let conditions = s["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
    };
    let says = |s: &Value| s["status"]["conditions"][0]["message"].to_string();
    let open = all.iter().find(|s| !is(s)).map(says);
    (all.iter().filter(is).count(), open.unwrap_or_default())
}

/// What was counted of so many stacks.
struct Counted {
    stacks: usize,
    passes: usize,
    /// Peak of the memory, MB.
    peak: f64,
    /// Calls by service and operation.
    calls: BTreeMap<String, f64>,
    /// An hour at the default pace is so much of what was watched.
    hour: f64,
}

impl Counted {
    fn of(&self, service: &str) -> f64 {
        let of = |call: &&String| call.split(':').next() == Some(service);
        self.calls.keys().filter(of).map(|call| self.calls[call]).sum()
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let watched = args.get(2).map(|s| Duration::from_secs(s.parse().unwrap()));
    let mut all = vec![];
    for stacks in args[1].split(',') {
        all.push(measure(&args[0], stacks.parse().unwrap(), watched).await);
    }
    let services: BTreeSet<&str> =
        all.iter().flat_map(|c| c.calls.keys()).filter_map(|call| call.split(':').next()).collect();
    println!(
        "\ncalls an hour at the default pace; of what is not shared, each stack's (and once it has been quiet for two hours)"
    );
    let of_all = all.iter().map(|c| format!("{:>20} stacks", c.stacks));
    println!("{:<24}{}", "service", of_all.collect::<String>());
    let mut own = vec![0.0; all.len()];
    for service in services.iter().filter(|s| !SHARED.contains(s)) {
        let each = |c: &Counted| c.of(service) / f(c.passes) * PASSES[0];
        own.iter_mut().zip(&all).for_each(|(sum, c)| *sum += each(c));
        println!("{service:<24}{}", all.iter().map(|c| hourly(each(c))).collect::<String>());
    }
    println!("{:<24}{}", "all of these", own.iter().map(|sum| hourly(*sum)).collect::<String>());
    let mut met = true;
    let mut goal = |what: String, value: f64, most: f64| {
        met &= value <= most;
        format!("  {what} {value:.2} (goal: at most {most})")
    };
    for service in SHARED {
        let totals: Vec<f64> = all.iter().map(|c| c.of(service) * c.hour).collect();
        print!("{:<24}", format!("{service}, shared"));
        for total in &totals {
            print!("{total:>27.0}");
        }
        println!();
        // Fewer than ten ask for every detail each time.
        for total in totals.iter().skip(1).filter(|_| all[0].stacks >= 10) {
            println!("{}", goal(format!("{total:.0} are so many times {:.0}:", totals[0]), total / totals[0], GOALS.0));
        }
    }
    let calls: BTreeSet<&String> = all.iter().flat_map(|c| c.calls.keys()).collect();
    println!("\nthe shared ones in an hour, by operation");
    for call in calls.iter().filter(|call| SHARED.iter().any(|s| call.split(':').next() == Some(*s))) {
        let total = |c: &Counted| format!("{:>13.0}", c.calls.get(*call).copied().unwrap_or_default() * c.hour);
        println!("{call:<52}{}", all.iter().map(total).collect::<String>());
    }
    println!();
    for c in &all {
        println!("{}", goal(format!("{} stacks: peak memory, MB:", c.stacks), c.peak, GOALS.1));
    }
    std::process::exit(i32::from(!met));
}

/// Calls in an hour at first, and later.
fn hourly(at_first: f64) -> String {
    format!("{at_first:>18.1} ({:>6.1})", at_first * PASSES[1] / PASSES[0])
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn f(n: usize) -> f64 {
    n as f64
}

async fn measure(program: &str, stacks: usize, watched: Option<Duration>) -> Counted {
    let [default, soonest] = INTERVALS;
    let interval = (stacks as u64).clamp(soonest, default);
    let watched = watched.unwrap_or(Duration::from_secs(10 * interval));
    let (aws, kube, telegram) = (LocalAws::start().await.unwrap(), LocalKube::start().await.unwrap(), telegram().await);
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    kube.write_kubeconfig(kubeconfig.path()).unwrap();
    let token = |n: usize| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{n}:not-a-real-token-of-any-bot-000000"))
    };
    let tokens: BTreeMap<String, String> = (0..stacks).map(|n| (format!("b{n}"), token(n))).collect();
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "tokens" }, "data": tokens });
    kube.create("api/v1/namespaces/default/secrets", secret).unwrap();
    for n in 0..stacks {
        kube.create(STACKS, stack(n, &telegram)).unwrap();
    }
    let mut operator = Command::new(program);
    operator.args(["operate", "--listen", "127.0.0.1:0", "--concurrency", "8", "--interval", &format!("{interval}s")]);
    operator.envs(aws.env()).env("KUBECONFIG", kubeconfig.path()).env("RUST_LOG", "error");
    let mut operator = operator.stdout(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    // Nothing tells when all are ready but the statuses.
    loop {
        let (ready, open) = ready(&kube);
        if ready == stacks {
            break;
        }
        eprintln!("{ready} of {stacks} ready after {} s; of the others one says {open}", begun.elapsed().as_secs());
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let making = begun.elapsed();
    // Until the first looks at rest are over.
    tokio::time::sleep(Duration::from_secs(interval)).await;
    aws.calls().await.unwrap();
    kube.calls();
    let (_, _, cpu) = usage(&operator);
    tokio::time::sleep(watched).await;
    let calls = aws.calls().await.unwrap();
    let passes = kube.calls().iter().filter(|c| c.ends_with("/status")).count();
    let (memory, peak, after) = usage(&operator);
    operator.kill().unwrap();
    operator.wait().unwrap();

    println!(
        "\n{stacks} stacks made in {} s; {passes} passes in {} s at rest: of a stack one each {interval} s, or half as many once twelve \
         were quiet",
        making.as_secs(),
        watched.as_secs()
    );
    println!(
        "memory {memory:.0} MB (peak {peak:.0} MB); processor {:.1} ms a pass",
        (after - cpu) * 1000.0 / f(passes)
    );
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call).or_default() += 1.0;
    }
    let hour = 3600.0 / watched.as_secs_f64() * Duration::from_secs(interval).as_secs_f64()
        / Duration::from_secs(default).as_secs_f64();
    Counted { stacks, passes, peak, calls: counts, hour }
}
