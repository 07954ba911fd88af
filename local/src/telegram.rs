//! The local Telegram: a stand-in for the Bot API, with a user's side for tests and scripts.
//!
//! It keeps everything in one process and forgets it at the end. It knows private chats and groups, photos and
//! documents; it knows nothing of channels, payments, inline mode or stickers beyond their receipt.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use std::time::Duration;
//! use local::telegram::{Fault, FaultKind, LocalTelegram};
//!
//! let telegram = LocalTelegram::start().await?;
//! // Start a bot with telegram.url() and telegram.token(), then be its user:
//! let user = telegram.user(7, "Ada");
//! telegram.fault(Fault::next("sendPhoto", FaultKind::TooManyRequests { retry_after: 1 }));
//! user.send_photo(std::fs::read("cat.jpg")?, "blur 5").await?;
//! let answer = user.next_message(Duration::from_secs(10)).await?;
//! let picture = user.download(&answer).await?;
//! # drop(picture); Ok(())
//! # }
//! ```

pub mod browser;
mod control;
mod delivery;
mod error;
mod fault;
mod files;
mod log;
mod marks;
mod message;
mod methods;
mod params;
mod photo;
mod queue;
mod server;
mod state;
mod trust;
mod user;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub use error::ApiError;
pub use fault::{Fault, FaultKind};
pub use log::{Call, Delivery};
pub use message::{Author, Button, Content, FileRef, Markup, Message, PhotoSize, Profile, Text};
pub use queue::Order;
pub use state::TapAnswer;
pub use user::{Attachment, User, UserError};

use state::{Chat, ChatKind, Shared};

/// How the stand-in behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens.
    pub address: SocketAddr,
    /// The first bot's token.
    pub token: String,
    /// How many times faster than real time retries, back-offs and lifetimes of updates pass.
    pub time_scale: f64,
    /// How long the waiting functions of `User` wait.
    pub deadline: Duration,
    /// How long a webhook may take to answer.
    pub delivery_timeout: Duration,
    /// Whether a webhook may be plain HTTP.
    pub allow_http: bool,
    /// Whether a webhook may be on a port other than 443, 80, 88 and 8443.
    pub any_port: bool,
    /// How many calls and deliveries are remembered.
    pub log_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: "123456:local-telegram-token".to_owned(),
            time_scale: 1.0,
            deadline: Duration::from_secs(10),
            delivery_timeout: Duration::from_mins(1),
            allow_http: true,
            any_port: true,
            log_limit: 100_000,
        }
    }
}

/// A running stand-in; it ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LocalTelegram {
    running: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    address: SocketAddr,
    bot: i64,
    tasks: std::sync::Mutex<Vec<AbortHandle>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let tasks = self.tasks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        tasks.iter().for_each(AbortHandle::abort);
        self.shared.stop();
    }
}

impl LocalTelegram {
    /// Starts one on a free port of 127.0.0.1.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts one that behaves so.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let token = options.token.clone();
        let shared = Arc::new(Shared::new(options)?);
        let bot = shared.change(|state| state.add_bot(&token, "Polybot"))?;
        let server = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        let dispatcher = tokio::spawn(delivery::dispatch(Arc::clone(&shared), bot));
        let tasks = std::sync::Mutex::new(vec![server.abort_handle(), dispatcher.abort_handle()]);
        Ok(Self { running: Arc::new(Running { shared, address, bot, tasks }) })
    }

    /// Gives the first bot another token, as BotFather does; the one before it is refused from now on.
    pub fn change_token(&self, token: &str) {
        self.with_bot(|bot| token.clone_into(&mut bot.token));
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.running.shared
    }

    /// What a bot sets as the address of the Bot API.
    pub fn url(&self) -> String {
        format!("http://{}", self.running.address)
    }

    /// The first bot's token.
    pub fn token(&self) -> &str {
        &self.shared().options.token
    }

    /// Adds another bot. Must be called within a tokio runtime.
    pub fn add_bot(&self, token: &str) -> Result<(), ApiError> {
        let known = state::bot_id(token).is_some_and(|id| self.shared().state().bots.contains_key(&id));
        let bot = self.shared().change(|state| state.add_bot(token, "Bot"))?;
        if !known {
            let task = tokio::spawn(delivery::dispatch(Arc::clone(self.shared()), bot));
            let mut tasks = self.running.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tasks.push(task.abort_handle());
        }
        Ok(())
    }

    /// A person in the private chat with the first bot.
    pub fn user(&self, id: i64, name: &str) -> User {
        self.user_of(self.running.bot, id, name)
    }

    /// A person in the private chat with another bot; the bot's id is the number at the start of its token.
    pub fn user_of(&self, bot: i64, id: i64, name: &str) -> User {
        self.shared().change(|state| state.know(id, name));
        User::new(Arc::clone(self.shared()), bot, id, id)
    }

    /// Makes a group of which the first bot is a member; the id is negative.
    pub fn group(&self, id: i64, title: &str) {
        let kind = ChatKind::Group { title: title.to_owned(), supergroup: false };
        self.with_bot(|bot| bot.chats.insert(id, Chat::new(id, kind)));
    }

    /// Turns a group into a supergroup: the old id answers calls with `migrate_to_chat_id` from now on.
    pub fn migrate(&self, group: i64, supergroup: i64) -> Result<(), ApiError> {
        let bot = self.running.bot;
        self.shared().change(|state| state.migrate(bot, group, supergroup))
    }

    /// Orders a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared().change(|state| state.faults.push(fault));
    }

    /// Takes back all faults that have not struck yet.
    pub fn clear_faults(&self) {
        self.shared().change(|state| state.faults.clear());
    }

    /// All calls of the Bot API, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.shared().state().calls.all()
    }

    /// All deliveries to webhooks, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared().state().deliveries.all()
    }

    /// How many updates wait.
    pub fn pending(&self) -> usize {
        self.shared().state().bots.get(&self.running.bot).map_or(0, |bot| bot.queue.len())
    }

    /// How many `getUpdates` calls have begun to look at the queue so far.
    pub fn polls(&self) -> u64 {
        self.shared().state().bots.get(&self.running.bot).map_or(0, |bot| bot.queue.poll)
    }

    /// Waits until `find` returns something; it is asked again after every change.
    pub async fn wait_until<T>(&self, mut find: impl FnMut(&Self) -> Option<T>) -> anyhow::Result<T> {
        let mut changes = self.shared().changes();
        let found = tokio::time::timeout(self.shared().options.deadline, async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = find(self) {
                    return found;
                }
                let _ = changes.changed().await;
            }
        });
        Ok(found.await?)
    }

    /// Waits until a call of this method (`file` for a download) hangs, as a fault of the kind [`FaultKind::Hang`] lets it.
    pub async fn hanging(&self, method: &str) -> anyhow::Result<()> {
        let hangs = |state: &state::State| state.hanging.iter().any(|hanging| hanging == method);
        self.wait_until(|telegram| hangs(&telegram.shared().state()).then_some(())).await
    }

    /// Waits until no update waits.
    pub async fn settled(&self) -> anyhow::Result<()> {
        self.wait_until(|telegram| (telegram.pending() == 0).then_some(())).await
    }

    /// Queues updates, but delivers none until `release`.
    pub fn hold(&self) {
        self.with_bot(|bot| bot.queue.hold());
    }

    /// Delivers what was held back.
    pub fn release(&self, order: Order) {
        self.with_bot(|bot| bot.queue.release(order));
    }

    /// Delivers each of the next `count` updates twice.
    pub fn duplicate_next(&self, count: u32) {
        self.with_bot(|bot| bot.queue.duplicate_next(count));
    }

    /// Delivers an update again; whether it is known.
    pub fn redeliver(&self, update: i64) -> bool {
        self.with_bot(|bot| bot.queue.redeliver(update, Instant::now())).unwrap_or(false)
    }

    fn with_bot<T>(&self, change: impl FnOnce(&mut state::Bot) -> T) -> Option<T> {
        self.shared().change(|state| state.bots.get_mut(&self.running.bot).map(change))
    }
}
