//! What an instance does with its user data, with stand-ins for Docker and systemd that write down how they are called. The whole of it
//! under the real cloud-init, in a root file system of its own, is in `make test-images`.

use crate::setting::local_spec;
use controller::{
    engine::Input,
    kinds::{
        launch_template_version::{LaunchTemplateVersion, UserData},
        log_group::LogGroup,
        role::Role,
    },
    stack::user_data::{Boot, Logs, template},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const IMAGE: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/talo-prod-yolo5@sha256:00";

/// User data as an instance of yolo5 gets it.
pub fn user_data(logs: Logs<'_>) -> String {
    let registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
    let boot = Boot { service: "yolo5", registry, stop_seconds: 60, logs };
    let environment = vec![("AWS_REGION".to_owned(), Input::Known("us-east-1".to_owned()))];
    UserData { template: template(&boot), image: Some(Input::Known(IMAGE.to_owned())), environment }.render().unwrap()
}

const CLOUD_WATCH: Logs<'_> = Logs::CloudWatch { region: "us-east-1", group: "/talo-prod/yolo5" };

/// An instance's files in a folder, and stand-ins for its programs.
struct Instance {
    root: tempfile::TempDir,
}

impl Instance {
    /// Writes the files that user data asks for.
    fn new(text: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        let data: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        for file in data["write_files"].as_array().unwrap() {
            let path = root.path().join(file["path"].as_str().unwrap().trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, file["content"].as_str().unwrap()).unwrap();
            let mode = file["permissions"].as_str().unwrap_or("0644");
            fs::set_permissions(&path, fs::Permissions::from_mode(u32::from_str_radix(mode, 8).unwrap())).unwrap();
        }
        Self { root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    /// Runs one of its scripts with a `docker` that does as told and a `systemctl`; what was called, a line each.
    fn run(&self, script: &str, docker: &str) -> (Output, Vec<String>) {
        let programs = self.path("stand-ins");
        fs::create_dir_all(&programs).unwrap();
        let calls = self.path("calls");
        let _ = fs::remove_file(&calls);
        for (name, then) in [("docker", docker), ("systemctl", "")] {
            let program = programs.join(name);
            let text = format!("#!/bin/sh\necho \"{name} $*\" >>{}\n{then}\n", calls.display());
            fs::write(&program, text).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").arg(self.path(script)).env("PATH", path).output().unwrap();
        let calls = fs::read_to_string(calls).unwrap_or_default();
        (output, calls.lines().map(str::to_owned).collect())
    }
}

#[test]
fn it_fits_names_its_files_and_holds_no_placeholder() {
    for text in [user_data(Logs::Journald), user_data(CLOUD_WATCH)] {
        assert!(text.len() < 8 * 1024, "{} of the 16 KiB that EC2 takes, and room for an environment", text.len());
        assert!(!text.contains("{{image}}") && !text.contains("{{environment}}"));
        let instance = Instance::new(&text);
        assert_eq!(instance.file("/etc/yolo5.env"), "AWS_REGION=us-east-1\n");
        let helper: serde_json::Value =
            serde_json::from_str(&instance.file("/etc/polybot/docker/config.json")).unwrap();
        assert_eq!(helper["credHelpers"]["123456789012.dkr.ecr.us-east-1.amazonaws.com"], "ecr-login");
        // Every program that a unit runs is Docker's, or a script that is there and can be run.
        for unit in ["yolo5.service", "yolo5-health.service"] {
            let text = instance.file(&format!("/etc/systemd/system/{unit}"));
            for program in text.lines().filter_map(|l| l.strip_prefix("Exec")?.split_once('=').map(|(_, p)| p)) {
                let program = program.trim_start_matches('-').split(' ').next().unwrap();
                let is_script = || fs::metadata(instance.path(program)).unwrap().permissions().mode() & 0o111 != 0;
                assert!(program == "/usr/bin/docker" || is_script(), "{program}");
            }
        }
    }
}

#[test]
fn the_image_is_pulled_once_and_run_with_the_machine_kept_safe_from_it() {
    let instance = Instance::new(&user_data(Logs::Journald));
    let run = "/usr/local/sbin/run-yolo5";
    let (output, calls) = instance.run(run, "[ \"$1\" != image ]");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls[..2], [format!("docker image inspect {IMAGE}"), format!("docker pull --quiet {IMAGE}")]);
    let started = &calls[2];
    for needed in [
        "docker run --rm --name yolo5 --network host ",
        " --read-only --tmpfs /tmp ",
        " --cap-drop ALL --security-opt no-new-privileges ",
        " --env-file /etc/yolo5.env ",
        " --log-driver none ",
    ] {
        assert!(started.contains(needed), "{started}");
    }
    assert!(started.ends_with(&format!(" {IMAGE}")) && !started.contains(" -p "), "{started}");
    let kib = started.split("--memory ").nth(1).unwrap().split('k').next().unwrap().parse::<u64>().unwrap();
    let total: u64 = fs::read_to_string("/proc/meminfo").unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(kib, total * 3 / 4);

    // The registry is not needed for an image that is here.
    let (_, calls) = instance.run(run, "");
    assert!(calls.len() == 2 && calls[1].starts_with("docker run "), "{calls:?}");
    // An image that cannot be pulled is tried again by systemd.
    let (output, calls) = instance.run(run, "[ \"$1\" = run ]");
    assert!(!output.status.success() && calls.len() == 2, "{calls:?}");

    let (_, calls) = Instance::new(&user_data(CLOUD_WATCH)).run(run, "");
    let log = "--log-driver awslogs --log-opt mode=non-blocking --log-opt awslogs-region=us-east-1 \
               --log-opt awslogs-group=/talo-prod/yolo5 --log-opt awslogs-stream=";
    assert!(calls[1].contains(log), "{calls:?}");
}

/// A log that goes to CloudWatch is the only one that needs a permission.
#[test]
fn the_spec_says_where_logs_go_and_only_then_may_instances_write_them() {
    let mut spec = local_spec();
    for (logs, in_user_data, allowed) in [
        (controller::spec::Logs::Journald, "--log-driver none", false),
        (controller::spec::Logs::CloudWatch, "--log-opt awslogs-group=/talo-local/yolo5 ", true),
    ] {
        spec.spec.logs = logs;
        let wanted = controller::stack::stack(&spec, &controller::facts::Facts::assumed(&spec));
        let version = wanted.of::<LaunchTemplateVersion>().find(|(address, _)| address.name == "yolo5").unwrap().1;
        assert!(version.user_data.template.contains(in_user_data), "{in_user_data}");
        for (address, role) in wanted.of::<Role>() {
            assert_eq!(role.policy.to_string().contains("logs:CreateLogStream"), allowed, "{address}");
        }
        // The instances find their group, which keeps what it has for as long as the spec says and goes with the stack's data.
        let groups: Vec<_> = wanted.of::<LogGroup>().map(|(_, g)| (g.name.as_str(), g.retention)).collect();
        let both = [("/talo-local/polybot", Some(30)), ("/talo-local/yolo5", Some(30))];
        assert_eq!(groups, if allowed { both.to_vec() } else { vec![] });
    }
}

#[test]
fn a_stop_takes_longer_than_a_job_and_an_end_is_a_beginning() {
    let instance = Instance::new(&user_data(Logs::Journald));
    let unit = instance.file("/etc/systemd/system/yolo5.service");
    let value = |key: &str| unit.lines().find_map(|l| l.strip_prefix(key)).unwrap();
    let seconds = value("ExecStop=/usr/bin/docker stop --time ").split(' ').next().unwrap().parse::<u32>().unwrap();
    // The worker gives back what it cannot finish in 20 seconds.
    assert!(seconds > 30 && value("TimeoutStopSec=").parse::<u32>().unwrap() > seconds);
    assert_eq!((value("Restart="), value("StartLimitIntervalSec=")), ("always", "0"));
}

#[test]
fn only_what_is_not_healthy_is_started_again() {
    let instance = Instance::new(&user_data(Logs::Journald));
    let watch = |docker: &str| instance.run("/usr/local/sbin/watch-yolo5", docker);
    let (output, calls) = watch("echo unhealthy");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls[1..], ["systemctl --no-block restart yolo5.service"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("yolo5 is not healthy"));
    for docker in ["echo healthy", "echo starting", "exit 1"] {
        let (output, calls) = watch(docker);
        assert!(output.status.success() && calls.len() == 1, "{docker}: {calls:?}");
    }
}

#[test]
fn shellcheck_has_nothing_to_say_about_its_scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = local::python::programs(&folder.join(".tools"), &folder.join("tests/tools.txt")).unwrap();
    for text in [user_data(Logs::Journald), user_data(CLOUD_WATCH)] {
        let instance = Instance::new(&text);
        let scripts = ["run-yolo5", "watch-yolo5"].map(|s| instance.path(&format!("/usr/local/sbin/{s}")));
        let output = Command::new(programs.join("shellcheck")).args(scripts).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
