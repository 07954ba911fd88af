//! What an instance does when it boots: cloud-init that installs Docker from Ubuntu's archive and keeps one container running. Pure.

/// Everything the text needs but the values that are known only later: those are placeholders.
pub struct Boot<'a> {
    /// `polybot` or `yolo5`.
    pub service: &'a str,
    /// Host of the registry: `123456789012.dkr.ecr.us-east-1.amazonaws.com`.
    pub registry: &'a str,
    /// Seconds that a stop may take: longer than one job or one update.
    pub stop_seconds: u32,
    /// Where the container's log goes.
    pub logs: Logs<'a>,
}

/// Where the container's log goes.
pub enum Logs<'a> {
    /// Into the instance's journal.
    Journald,
    /// To CloudWatch, a stream for each instance.
    CloudWatch {
        /// Region of the log group.
        region: &'a str,
        /// Name of the log group.
        group: &'a str,
    },
}

/// Stands for the image, by digest, until it is known.
pub const IMAGE: &str = "{{image}}";
/// Stands for the lines of the environment file until the values are known.
pub const ENVIRONMENT: &str = "{{environment}}";

/// The text with its placeholders. No secret is ever in it: the container fetches them by its role.
pub fn template(boot: &Boot) -> String {
    let Boot { service, registry, stop_seconds, logs: _ } = boot;
    let run = indented(&run_script(boot));
    let health = indented(&health_script(service));
    format!(
        r#"#cloud-config
package_update: true
packages:
  - docker.io
  - amazon-ecr-credential-helper
write_files:
  - path: /etc/polybot/docker/config.json
    permissions: "0600"
    content: |
      {{"credHelpers": {{"{registry}": "ecr-login"}}}}
  - path: /etc/{service}.env
    permissions: "0600"
    content: |
{ENVIRONMENT}
  - path: /usr/local/sbin/run-{service}
    permissions: "0755"
    content: |
{run}
  - path: /usr/local/sbin/watch-{service}
    permissions: "0755"
    content: |
{health}
  - path: /etc/systemd/system/{service}.service
    content: |
      [Unit]
      Description={service}
      After=docker.service network-online.target
      Requires=docker.service
      Wants=network-online.target
      StartLimitIntervalSec=0
      [Service]
      Environment=DOCKER_CONFIG=/etc/polybot/docker
      ExecStartPre=-/usr/bin/docker rm --force {service}
      ExecStart=/usr/local/sbin/run-{service}
      ExecStop=/usr/bin/docker stop --time {stop_seconds} {service}
      TimeoutStopSec={timeout}
      Restart=always
      RestartSec=5
      [Install]
      WantedBy=multi-user.target
  - path: /etc/systemd/system/{service}-health.service
    content: |
      [Unit]
      Description=Start {service} again when it is not healthy
      [Service]
      Type=oneshot
      ExecStart=/usr/local/sbin/watch-{service}
  - path: /etc/systemd/system/{service}-health.timer
    content: |
      [Unit]
      Description=Look at the health of {service}
      [Timer]
      OnActiveSec=60
      OnUnitActiveSec=30
      [Install]
      WantedBy=timers.target
runcmd:
  - [systemctl, daemon-reload]
  - [systemctl, enable, --now, {service}.service, {service}-health.timer]
"#,
        timeout = stop_seconds + 10,
    )
}

/// Runs the container in the foreground. It shares the host's network, so that it reaches the instance metadata with a hop limit of 1;
/// its file system is read-only; and when it takes more than three quarters of the machine's memory it is ended before the machine is.
fn run_script(Boot { service, logs, .. }: &Boot) -> String {
    let log = match logs {
        // systemd puts what the unit prints into the journal: the driver would write each line there a second time.
        Logs::Journald => "--log-driver none".to_owned(),
        // An instance whose log cannot be delivered goes on working.
        Logs::CloudWatch { region, group } => format!(
            "--log-driver awslogs --log-opt mode=non-blocking --log-opt awslogs-region={region} \\\n  \
             --log-opt awslogs-group={group} --log-opt awslogs-stream=\"$(cat /var/lib/cloud/data/instance-id)\""
        ),
    };
    format!(
        r#"#!/bin/sh
set -eu
image={IMAGE}
docker image inspect "$image" >/dev/null 2>&1 || docker pull --quiet "$image"
memory=$(awk '/^MemTotal:/ {{ print int($2 * 3 / 4) "k" }}' /proc/meminfo)
exec docker run --rm --name {service} --network host \
  --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
  --memory "$memory" --memory-swap "$memory" --env-file /etc/{service}.env \
  {log} \
  "$image"
"#
    )
}

/// Docker tells that a container is not healthy, by the image's health check, and leaves it at that.
fn health_script(service: &str) -> String {
    format!(
        r#"#!/bin/sh
set -eu
health=$(docker inspect --format '{{{{.State.Health.Status}}}}' {service} 2>/dev/null) || exit 0
if [ "$health" = unhealthy ]; then
  echo "{service} is not healthy: it is started again" >&2
  exec systemctl --no-block restart {service}.service
fi
"#
    )
}

/// A text as a block of YAML six columns deep.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("      {line}")).collect::<Vec<_>>().join("\n")
}
