//! What an instance does when it boots: cloud-init that installs Docker from Ubuntu's archive and runs one container.

/// Everything the text needs but the values that are known only later: those are placeholders.
pub struct Boot<'a> {
    /// `polybot` or `yolo5`.
    pub service: &'a str,
    /// Host of the registry: `123456789012.dkr.ecr.us-east-1.amazonaws.com`.
    pub registry: &'a str,
    /// Seconds that a stop may take: longer than one job or one update.
    pub stop_seconds: u32,
}

/// Stands for the image, by digest, until it is known.
pub const IMAGE: &str = "{{image}}";
/// Stands for the lines of the environment file until the values are known.
pub const ENVIRONMENT: &str = "{{environment}}";

/// The text with its placeholders. No secret is ever in it: the container fetches them by its role.
///
/// The container shares the host's network, so that it reaches instance metadata with a hop limit of 1.
pub fn template(boot: &Boot) -> String {
    let Boot { service, registry, stop_seconds } = boot;
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
      ExecStartPre=/usr/bin/docker pull {IMAGE}
      ExecStart=/usr/bin/docker run --name {service} --network host --read-only --tmpfs /tmp --env-file /etc/{service}.env --log-driver journald {IMAGE}
      ExecStop=/usr/bin/docker stop --time {stop_seconds} {service}
      TimeoutStopSec={timeout}
      Restart=always
      RestartSec=5
      [Install]
      WantedBy=multi-user.target
runcmd:
  - [systemctl, daemon-reload]
  - [systemctl, enable, --now, {service}.service]
"#,
        timeout = stop_seconds + 10,
    )
}
