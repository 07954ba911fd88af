//! A headless Chromium that a test leads through the chat page, by the DevTools protocol over a pipe.
//!
//! It knows just what a user does: open, type, press, click, attach files, and wait until something is seen.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::LocalTelegram;

/// Longer than any page here takes.
const DEADLINE: Duration = Duration::from_secs(30);

/// One browser with one page; it ends when this is dropped.
pub struct Browser {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: Option<String>,
    number: u64,
    process: Child,
    profile: tempfile::TempDir,
}

/// Where Chromium is: `CHROMIUM` in the environment, else the usual names in `PATH`.
pub fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let folders = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&folders).collect();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name))).find(|path| path.is_file())
}

/// The chat page of users such as `Ada:7,Bob:8`, ready to type in. None without Chromium, which a test says and leaves it at that;
/// in CI that is an error.
pub async fn chat(telegram: &LocalTelegram, users: &str) -> anyhow::Result<Option<Browser>> {
    let Some(chromium) = find() else {
        if std::env::var_os("CI").is_some() {
            bail!("CI runs this test: it needs Chromium");
        }
        eprintln!("skipped: no Chromium here (install it, or name it in CHROMIUM)");
        return Ok(None);
    };
    let mut page = Browser::open(&chromium, &format!("{}/_local/?users={users}", telegram.url())).await?;
    let phones = users.split(',').count();
    page.wait_for(&format!("document.querySelectorAll('.phone[data-ready]').length === {phones}")).await?;
    Ok(Some(page))
}

impl Browser {
    /// Starts the Chromium at this path and opens a page.
    pub async fn open(chromium: &Path, url: &str) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new().prefix("local-telegram-browser-").tempdir()?;
        // Chromium speaks on descriptors 3 and 4; the shell puts our pipes there.
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null"#)
            .arg(chromium)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--window-size=960,860", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start Chromium")?;
        let commands = process.stdin.take().context("Chromium takes no commands")?;
        let answers = BufReader::new(process.stdout.take().context("Chromium gives no answers")?);
        let mut browser = Self { commands, answers, session: None, number: 0, process, profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" })).await?;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await?;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        browser.call("Page.navigate", json!({ "url": url })).await?;
        Ok(browser)
    }

    /// Ends it, and takes its profile away.
    pub async fn close(mut self) -> anyhow::Result<()> {
        self.session = None;
        self.call("Browser.close", json!({})).await?;
        tokio::time::timeout(DEADLINE, self.process.wait()).await.context("Chromium did not end")??;
        Ok(self.profile.close()?)
    }

    /// One command of the DevTools protocol.
    pub async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        let answer = tokio::time::timeout(DEADLINE, self.exchange(method, params));
        answer.await.with_context(|| format!("Chromium did not answer {method}"))?
    }

    async fn exchange(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.number += 1;
        let mut command = json!({ "id": self.number, "method": method, "params": params });
        if let Some(session) = &self.session {
            command["sessionId"] = session.clone().into();
        }
        self.commands.write_all(format!("{command}\0").as_bytes()).await?;
        loop {
            let mut message = Vec::new();
            if self.answers.read_until(0, &mut message).await? == 0 {
                bail!("Chromium has ended");
            }
            message.pop();
            let mut message: Value = serde_json::from_slice(&message)?;
            if message["id"] == self.number {
                if let Some(error) = message.get("error") {
                    bail!("{method}: {error}");
                }
                return Ok(message["result"].take());
            }
        }
    }

    /// The value of a JavaScript expression; a promise is awaited.
    pub async fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let arguments = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", arguments).await?;
        if let Some(exception) = answer.get("exceptionDetails") {
            bail!("the page threw: {exception}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until the expression is true, looking again after every change of the page, and returns its value.
    pub async fn wait_for(&mut self, expression: &str) -> anyhow::Result<Value> {
        let script = format!(
            "new Promise((resolve) => {{
                const look = () => {{
                    const found = ({expression});
                    if (found) {{ observer.disconnect(); resolve(found === true ? true : String(found.textContent ?? found)); }}
                }};
                const observer = new MutationObserver(look);
                observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                look();
            }})"
        );
        self.evaluate(&script).await.with_context(|| format!("the page never showed {expression}"))
    }

    /// Clicks the first element that fits the selector.
    pub async fn click(&mut self, selector: &str) -> anyhow::Result<()> {
        self.evaluate(&format!("document.querySelector({selector:?}).click()")).await.map(drop)
    }

    /// Puts the keyboard's focus on an element.
    pub async fn focus(&mut self, selector: &str) -> anyhow::Result<()> {
        self.evaluate(&format!("document.querySelector({selector:?}).focus()")).await.map(drop)
    }

    /// Types a text where the focus is.
    pub async fn write(&mut self, text: &str) -> anyhow::Result<()> {
        self.call("Input.insertText", json!({ "text": text })).await.map(drop)
    }

    /// Presses Enter where the focus is.
    pub async fn press_enter(&mut self) -> anyhow::Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let key =
                json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
            self.call("Input.dispatchKeyEvent", key).await?;
        }
        Ok(())
    }

    /// Chooses files in an `<input type=file>`.
    pub async fn attach(&mut self, selector: &str, files: &[PathBuf]) -> anyhow::Result<()> {
        let input = json!({ "expression": format!("document.querySelector({selector:?})") });
        let input = self.call("Runtime.evaluate", input).await?;
        let arguments = json!({ "files": files, "objectId": input["result"]["objectId"] });
        self.call("DOM.setFileInputFiles", arguments).await.map(drop)
    }

    /// A picture of the page, as PNG.
    pub async fn screenshot(&mut self) -> anyhow::Result<Vec<u8>> {
        let picture = self.call("Page.captureScreenshot", json!({})).await?;
        Ok(STANDARD.decode(picture["data"].as_str().unwrap_or_default())?)
    }
}
