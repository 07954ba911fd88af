//! The steps of the workflows, run as GitHub runs them: their scripts, in a checkout, with the files and variables of a job,
//! a GitHub that keeps comments and issues, and the local AWS.

use crate::setting::{Synced, TOKEN, both};
use axum::{
    Json, Router,
    extract::{Path as At, State},
    routing::{get, patch},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{net::TcpListener, process::Command};

/// What GitHub has of one repository.
#[derive(Default)]
struct Kept {
    comments: Vec<Value>,
    issues: Vec<Value>,
    /// Whether the spec was changed some days ago, and not just now.
    quiet: bool,
}

#[derive(Clone, Default)]
struct GitHub(Arc<Mutex<Kept>>);

impl GitHub {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    /// Starts it; its address.
    async fn start(&self) -> String {
        let comments = get(|State(hub): State<Self>| async move { Json(hub.kept().comments.clone()) });
        let comments = comments.post(|State(hub): State<Self>, Json(mut body): Json<Value>| async move {
            let mut kept = hub.kept();
            body["id"] = json!(kept.comments.len());
            body["user"] = json!({ "login": "github-actions[bot]" });
            kept.comments.push(body.clone());
            Json(body)
        });
        let comment = patch(|State(hub): State<Self>, At(id): At<usize>, Json(body): Json<Value>| async move {
            hub.kept().comments[id]["body"] = body["body"].clone();
            Json(body)
        });
        let issues = get(|State(hub): State<Self>| async move {
            let open: Vec<Value> = hub.kept().issues.iter().filter(|i| i["state"] == "open").cloned().collect();
            Json(open)
        });
        let issues = issues.post(|State(hub): State<Self>, Json(mut body): Json<Value>| async move {
            let mut kept = hub.kept();
            body["number"] = json!(kept.issues.len());
            body["state"] = json!("open");
            kept.issues.push(body.clone());
            Json(body)
        });
        let issue = patch(|State(hub): State<Self>, At(number): At<usize>, Json(body): Json<Value>| async move {
            for (field, value) in body.as_object().unwrap() {
                hub.kept().issues[number][field] = value.clone();
            }
            Json(body)
        });
        let pulls = get(|At(commit): At<String>| async move {
            Json(if commit == "direct" { json!([]) } else { json!([{ "number": 7 }]) })
        });
        let commits = get(|State(hub): State<Self>| async move {
            let changed = if hub.kept().quiet {
                "2026-01-02T03:04:05Z".to_owned()
            } else {
                k8s_openapi::jiff::Timestamp::now().to_string()
            };
            Json(json!([{ "commit": { "committer": { "date": changed } } }]))
        });
        let routes = Router::new()
            .route("/repos/o/r/commits", commits)
            .route("/repos/o/r/issues/{number}/comments", comments)
            .route("/repos/o/r/issues/comments/{id}", comment)
            .route("/repos/o/r/issues", issues)
            .route("/repos/o/r/issues/{number}", issue)
            .route("/repos/o/r/commits/{commit}/pulls", pulls)
            .with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }
}

/// A job: a workflow's steps that have a script, and what the steps before have put out.
struct Job<'a> {
    stack: &'a Synced,
    github: String,
    commit: &'a str,
    outputs: BTreeMap<String, String>,
}

impl Job<'_> {
    /// Runs a job's named steps in order until one fails; whether all went well, and what they printed.
    async fn run(&mut self, workflow: &str, job: &str, steps: &[&str]) -> (bool, String) {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let text = std::fs::read_to_string(format!("{root}/.github/workflows/{workflow}.yml")).unwrap();
        let file: Value = serde_saphyr::from_str(&text).unwrap();
        let all = file["jobs"][job]["steps"].as_array().unwrap();
        let named: Vec<&Value> = all.iter().filter(|s| s["name"].is_string() && s["run"].is_string()).collect();
        let names: Vec<&str> = named.iter().map(|s| s["name"].as_str().unwrap()).collect();
        assert_eq!(names, steps, "a step that no test runs");
        checkout(self.stack.folder.path(), &self.stack.spec);
        let mut said = String::new();
        for step in named {
            let (well, text) = self.step(step).await;
            said.push_str(&text);
            if !well {
                return (false, said);
            }
        }
        (true, said)
    }

    async fn step(&mut self, step: &Value) -> (bool, String) {
        let folder = self.stack.folder.path();
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "an expression inside a script can be an injection: {script}");
        let program = Path::new(env!("CARGO_BIN_EXE_controller")).parent().unwrap();
        // Programs that a runner has and this machine need not have come first where a test puts them there.
        let stubs = folder.join("stubs");
        let path = format!("{}:{}:{}", stubs.display(), program.display(), std::env::var("PATH").unwrap());
        let output = folder.join("output");
        std::fs::write(&output, "").unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]).current_dir(folder);
        // A step has the secrets that it names, and no other.
        command.envs(self.stack.world.aws.env()).env_remove("TELEGRAM_TOKEN").env("PATH", path);
        command.env("GITHUB_OUTPUT", &output).env("GITHUB_STEP_SUMMARY", folder.join("summary.md"));
        command.env("GITHUB_API_URL", &self.github).env("GITHUB_REPOSITORY", "o/r");
        command.env("GITHUB_RUN_ID", "77").env("GITHUB_RUN_ATTEMPT", "2");
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, self.value(value.as_str().unwrap()));
        }
        let ended = command.output().await.unwrap();
        let id = step["id"].as_str().unwrap_or_default();
        for line in std::fs::read_to_string(&output).unwrap().lines() {
            let (name, value) = line.split_once('=').unwrap();
            self.outputs.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
        }
        let text = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        (ended.status.success(), text)
    }

    /// A text with its expressions' values.
    fn value(&self, text: &str) -> String {
        match text.split_once("${{ ").and_then(|(before, rest)| Some((before, rest.split_once(" }}")?))) {
            Some((before, (name, after))) => format!("{before}{}{}", self.named(name), self.value(after)),
            None => text.to_owned(),
        }
    }

    fn named(&self, name: &str) -> String {
        match name {
            "github.token" => "a-token".to_owned(),
            "github.sha" => self.commit.to_owned(),
            "github.event.pull_request.number" => "7".to_owned(),
            "secrets.TELEGRAM_TOKEN" => TOKEN.to_owned(),
            "inputs.stack" | "inputs.confirm" | "inputs.tag" | "matrix.service" => {
                self.outputs.get(name).cloned().unwrap_or_default()
            }
            "secrets.REPOSITORY_PREFIX" => "talo-local".to_owned(),
            name => self.outputs.get(name).unwrap_or_else(|| panic!("nothing put out {name}")).clone(),
        }
    }
}

/// The scripts, and this stack's spec in the place of the production one.
fn checkout(folder: &Path, spec: &Path) {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::fs::create_dir_all(folder.join(".github/scripts")).unwrap();
    std::fs::create_dir_all(folder.join("specs")).unwrap();
    for file in [".github/scripts/github.py", ".github/scripts/bases.sh", "Dockerfile"] {
        std::fs::copy(format!("{root}/{file}"), folder.join(file)).unwrap();
    }
    std::fs::copy(spec, folder.join("specs/prod.yaml")).unwrap();
    // The spec before the pull request.
    let base = folder.join("base/specs/prod.yaml");
    if !base.exists() {
        std::fs::create_dir_all(base.parent().unwrap()).unwrap();
        std::fs::copy(spec, base).unwrap();
    }
}

#[tokio::test]
async fn a_pull_request_shows_its_plan_and_the_merge_applies_just_that() {
    let stack = Synced::new().await;
    let waiver = "  waivers: [{ rule: POLYBOT_3, reason: a Telegram on this machine, until: 2999-12-31 }]\n";
    stack.edit(|t| t + waiver);
    let hub = GitHub::default();
    let github = hub.start().await;
    let job = || Job { stack: &stack, github: github.clone(), commit: "merged", outputs: BTreeMap::new() };
    let plan = async || job().run("plan", "plan", &["Plan", "Comment"]).await;

    // Nothing changes; then something does, in the same comment.
    assert!(job().run("plan", "validate", &["Validate", "Check", "Cost"]).await.0);
    let (well, said) = plan().await;
    assert!(well, "{said}");
    stack.edit(|t| t.replace("max: 3", "max: 5"));
    let (well, said) = plan().await;
    assert!(well, "{said}");
    {
        let kept = hub.kept();
        let [comment] = &kept.comments[..] else { panic!("{:?}", kept.comments) };
        let body = comment["body"].as_str().unwrap();
        assert!(body.contains("`scaling_group/yolo5` | update"), "{comment}");
        // Two workers more at most: (0.0416 + 0.005) x 730 h + 16 GB x 0.08 each.
        assert!(body.contains("(+0.00 to +70.60 USD a month)") && body.contains("**Security**"), "{body}");
    }

    // Somebody changes AWS before the merge: it is not what was reviewed.
    let autoscaling = aws_sdk_autoscaling::Client::new(&stack.world.aws.config("us-east-1"));
    let max = async |n: i32| {
        let call = autoscaling.update_auto_scaling_group().auto_scaling_group_name("talo-local-yolo5").max_size(n);
        call.send().await.unwrap();
    };
    max(9).await;
    let (well, said) = job().run("apply", "apply", &["Reviewed", "Apply"]).await;
    assert!(!well && said.contains("nothing was done"), "{said}");
    max(3).await;

    // A comment by anyone else lets nothing through, and a push past review neither.
    hub.kept().comments[0]["user"]["login"] = json!("mallory");
    assert!(!job().run("apply", "apply", &["Reviewed", "Apply"]).await.0);
    hub.kept().comments[0]["user"]["login"] = json!("github-actions[bot]");
    let (well, said) = Job { commit: "direct", ..job() }.run("apply", "apply", &["Reviewed", "Apply"]).await;
    assert!(!well && said.contains("not nothing-was-reviewed as expected"), "{said}");

    let (well, said) = job().run("apply", "apply", &["Reviewed", "Apply"]).await;
    assert!(well && said.contains("converged"), "{said}");

    // A spec that is wrong is told, and no comment claims otherwise.
    stack.edit(|t| t.replace("max: 5", "max: 0"));
    assert!(!job().run("plan", "validate", &["Validate", "Check", "Cost"]).await.0);
    assert!(!plan().await.0);
}

#[tokio::test]
async fn drift_opens_one_issue_and_closes_it() {
    let stack = Synced::new().await;
    let hub = GitHub::default();
    let github = hub.start().await;
    let job = || Job { stack: &stack, github: github.clone(), commit: "main", outputs: BTreeMap::new() };
    let drift = async || job().run("drift", "drift", &["Drift", "Issue", "Verdict"]).await;
    let issues = || hub.kept().issues.clone();

    let (well, said) = drift().await;
    assert!(well && issues().is_empty(), "{said}");

    let sqs = aws_sdk_sqs::Client::new(&stack.world.aws.config("us-east-1"));
    let url = sqs.get_queue_url().queue_name("talo-local-work").send().await.unwrap().queue_url.unwrap();
    let weak = aws_sdk_sqs::types::QueueAttributeName::VisibilityTimeout;
    sqs.set_queue_attributes().queue_url(&url).attributes(weak, "1").send().await.unwrap();
    for _ in 0..2 {
        assert!(!drift().await.0);
        let [issue] = &issues()[..] else { panic!("one issue, not {:?}", issues()) };
        assert!(issue["body"].as_str().unwrap().contains("`queue/work`") && issue["state"] == "open");
    }

    stack.apply().await;
    assert!(drift().await.0);
    assert_eq!(issues()[0]["state"], "closed");

    // A change that waits to be applied is no alarm; an AWS that does not answer is one.
    stack.edit(|t| t.replace("max: 3", "max: 5"));
    assert!(drift().await.0);
    assert_eq!(issues().iter().filter(|i| i["state"] == "open").count(), 0);
    // Nobody has applied it for days: it may be a certificate that has to be renewed.
    hub.kept().quiet = true;
    assert!(drift().await.0);
    let waits = issues().into_iter().find(|i| i["state"] == "open").expect("an issue");
    assert!(waits["body"].as_str().unwrap().contains("`scaling_group/yolo5`"), "{waits}");
    stack.world.aws.switch("deny", json!(["sqs:*"])).await.unwrap();
    let (well, said) = drift().await;
    assert!(!well && said.contains("not to be checked"), "{said}");
    assert_eq!(issues().iter().filter(|i| i["state"] == "open").count(), 1);
}

#[tokio::test]
async fn a_stack_is_destroyed_only_under_its_name_typed_twice() {
    let stack = Synced::new().await;
    let github = GitHub::default().start().await;
    for (confirm, expected) in [("lokal", false), ("local", true)] {
        let inputs = [("inputs.stack", "local"), ("inputs.confirm", confirm)];
        let outputs = inputs.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let mut job = Job { stack: &stack, github: github.clone(), commit: "main", outputs };
        let (well, said) = job.run("destroy", "destroy", &["Destroy"]).await;
        assert_eq!(well, expected, "{said}");
    }
}

/// Programs that write down how they were called, and answer as told.
fn stub(folder: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let stubs = folder.join("stubs");
    std::fs::create_dir_all(&stubs).unwrap();
    let path = stubs.join(name);
    let log = folder.join("calls").display().to_string();
    std::fs::write(&path, format!("#!/bin/sh\necho {name} \"$*\" >> {log}\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// How many of the calls begin so.
fn calls_of(calls: &str, begin: &str) -> usize {
    calls.lines().filter(|call| call.starts_with(begin)).count()
}

#[tokio::test]
async fn images_are_built_pushed_scanned_tagged_and_then_proposed_in_a_spec() {
    let stack = Synced::new().await;
    let folder = stack.folder.path();
    let aws = |scan: &str, critical: &str| {
        format!(
            "case \"$*\" in *get-caller*) echo 123456789012;; *imageScanStatus*) echo {scan};; *findings*) echo {critical};; \
             *batch-get-image*) echo '{{\"the\": \"manifest\"}}';; esac"
        )
    };
    stub(folder, "gh", "");
    stub(folder, "docker", "case \"$*\" in *inspect*) echo '\"sha256:0123\"';; esac");
    stub(folder, "make", "echo on $BASE and $BUILDER");
    let outputs = || {
        let inputs = [("inputs.tag", "v1.5.0"), ("matrix.service", "yolo5")];
        let released =
            [("github.ref_name", "v1.5.0"), ("github.actor", "ada"), ("github.repository_owner", "Lovelace")];
        inputs.into_iter().chain(released).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    };
    let job = || Job { stack: &stack, github: String::new(), commit: "main", outputs: outputs() };
    let bases = "on gcr.io/distroless/cc-debian12:nonroot@sha256:0123 and docker.io/library/rust:1.95-slim-bookworm@sha256:0123";
    let scans = [
        ("COMPLETE", "2", false),
        ("FAILED", "None", false),
        ("COMPLETE", "None", true),
        ("COMPLETE", "0", true),
        ("UNSUPPORTED_IMAGE", "None", true),
    ];
    let calls = || std::fs::read_to_string(folder.join("calls")).unwrap_or_default();
    let tagged = "aws ecr put-image --repository-name talo-local-yolo5 --image-tag v1.5.0 --image-manifest {\"the\": \"manifest\"}";
    for (scan, critical, well) in scans {
        stub(folder, "aws", &aws(scan, critical));
        let before = calls_of(&calls(), tagged);
        let (ended, said) = job().run("images", "images", &["Bases", "Build", "Push", "Scan", "Tag"]).await;
        assert_eq!(ended, well, "{said}");
        assert!(said.contains(bases), "{said}");
        // No spec sees the image before its verdict; what cannot be scanned is told.
        assert_eq!(calls_of(&calls(), tagged) > before, well, "{}", calls());
        assert_eq!(said.contains("::warning::"), scan == "UNSUPPORTED_IMAGE", "{said}");
    }
    let (well, said) = job().run("release", "images", &["Bases", "Build", "Push"]).await;
    assert!(well && said.contains(bases), "{said}");
    let calls = calls();
    let registry = "docker push 123456789012.dkr.ecr.us-east-1.amazonaws.com/talo-local-yolo5";
    assert_eq!(calls_of(&calls, &format!("{registry}:scan-77-2")), calls_of(&calls, registry), "{calls}");
    assert_eq!(calls_of(&calls, registry), scans.len(), "{calls}");
    for image in ["polybot-controller", "polybot", "yolo5"] {
        assert_eq!(calls_of(&calls, &format!("docker push ghcr.io/lovelace/{image}:v1.5.0")), 1, "{calls}");
    }
    // The weights are in no image that everybody may have.
    assert!(calls.contains("make images TARGETS=yolo5 VERSION=v1.5.0 MODEL=yolo5/model"), "{calls}");
    let released = calls.lines().find(|call| call.starts_with("make images TARGETS=controller")).unwrap();
    assert_eq!(released, "make images TARGETS=controller polybot yolo5 VERSION=v1.5.0");

    // The proposal: one commit with nothing but the two tags.
    let git = async |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(folder).output().await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    checkout(folder, &stack.spec);
    git(&["init", "-q", "-b", "main"]).await;
    git(&["init", "-q", "--bare", "remote.git"]).await;
    git(&["remote", "add", "origin", "remote.git"]).await;
    git(&["add", "specs"]).await;
    git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "first"]).await;
    let (well, said) = job().run("images", "spec", &["Spec", "Propose"]).await;
    assert!(well, "{said}");
    let diff = git(&["diff", "--unified=0", "main", "origin/images-v1.5.0", "--", "specs"]).await;
    let lines: Vec<_> = diff.lines().filter(|l| l.starts_with(['+', '-']) && !l.contains("specs/")).collect();
    let (old, new) = ("-    image: { tag: v1.0.0 }", "+    image: { tag: v1.5.0 }");
    assert_eq!(lines, [old, new, old, new]);
    assert!(std::fs::read_to_string(folder.join("calls")).unwrap().contains("gh pr create --title Images v1.5.0"));
}
