//! A program of the system that runs for long: killed, it starts again, as systemd starts it on an instance.

use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Where cargo puts the programs of the workspace: the test itself lies in `deps` beside them.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace` first", path.display());
    path
}

enum Order {
    Kill,
    Stop,
}

/// One program that is kept running.
pub struct Service {
    pub name: String,
    /// Where it answers `/metrics`.
    pub url: String,
    orders: mpsc::Sender<Order>,
    process: watch::Receiver<Option<u32>>,
    keeper: JoinHandle<bool>,
}

impl Service {
    /// Starts it and waits until its health route answers.
    pub async fn start(name: &str, health: String, command: impl Fn() -> Command + Send + 'static) -> Self {
        let (orders, received) = mpsc::channel(1);
        let (sender, process) = watch::channel(None);
        let keeper = tokio::spawn(keep(name.to_owned(), command, received, sender));
        let url = health.rsplit_once('/').unwrap().0.to_owned();
        let started = async {
            while !reqwest::get(&health).await.is_ok_and(|answer| answer.status().is_success()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(90), started).await.expect(name);
        Self { name: name.to_owned(), url, orders, process, keeper }
    }

    /// Ends it as a dying instance does.
    pub async fn kill(&self) {
        self.orders.send(Order::Kill).await.unwrap();
    }

    /// Tells it to end; whether it did so with success.
    pub async fn stop(self) -> bool {
        self.orders.send(Order::Stop).await.unwrap();
        tokio::time::timeout(Duration::from_secs(90), self.keeper).await.expect("an orderly end").unwrap()
    }

    /// The memory that it holds now, in MiB; none while it starts.
    pub fn memory(&self) -> Option<u64> {
        resident((*self.process.borrow())?)
    }

    /// Its metrics.
    pub async fn metrics(&self) -> String {
        let answer = reqwest::get(format!("{}/metrics", self.url)).await.unwrap();
        answer.text().await.unwrap()
    }
}

/// The memory that a process holds now, in MiB.
pub fn resident(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

async fn keep(
    name: String,
    command: impl Fn() -> Command,
    mut orders: mpsc::Receiver<Order>,
    process: watch::Sender<Option<u32>>,
) -> bool {
    loop {
        let mut command = command();
        let mut child = command.kill_on_drop(true).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        process.send_replace(child.id());
        tokio::select! {
            ended = child.wait() => eprintln!("{name} ended by itself: {}", ended.unwrap()),
            order = orders.recv() => match order {
                Some(Order::Kill) => child.kill().await.unwrap(),
                Some(Order::Stop) => return terminate(&mut child).await,
                None => return false,
            },
        }
        process.send_replace(None);
        // systemd waits a little, too.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn terminate(child: &mut Child) -> bool {
    let id = child.id().unwrap().to_string();
    Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    child.wait().await.unwrap().success()
}
