//! All that the stand-in knows, behind one lock: users, bots, chats, messages, updates, and what was called.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::Options;
use super::error::ApiError;
use super::fault::Fault;
use super::files::Files;
use super::log::{Call, Delivery, Log};
use super::message::{Author, Content, Markup, Message, Profile};
use super::queue::Queue;

/// State, files and the means to wait for a change.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    revision: watch::Sender<u64>,
    events: broadcast::Sender<Value>,
    stopped: AtomicBool,
    pub files: Files,
    pub options: Options,
}

impl Shared {
    pub(super) fn new(options: Options) -> std::io::Result<Self> {
        Ok(Self {
            state: Mutex::new(State::new(&options)),
            revision: watch::Sender::new(0),
            events: broadcast::Sender::new(1024),
            stopped: AtomicBool::new(false),
            files: Files::new()?,
            options,
        })
    }

    /// Ends what still goes on: connections are cut, and whoever waits for a change wakes up.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.change(|_| ());
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// The state, to read.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes everyone who waits for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, events) = {
            let mut state = self.state();
            let result = change(&mut state);
            (result, std::mem::take(&mut state.events))
        };
        for event in events {
            // Without a chat page open there is no receiver.
            let _ = self.events.send(event);
        }
        self.revision.send_modify(|revision| *revision += 1);
        result
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(super) fn events(&self) -> broadcast::Receiver<Value> {
        self.events.subscribe()
    }
}

/// A call that hangs: taken note of until this is dropped, which is when whoever called has gone.
pub(super) struct Hanging {
    shared: Arc<Shared>,
    method: String,
}

impl Hanging {
    pub(super) fn new(shared: &Arc<Shared>, method: &str) -> Self {
        shared.change(|state| state.hanging.push(method.to_owned()));
        Self { shared: Arc::clone(shared), method: method.to_owned() }
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.shared.change(|state| {
            if let Some(at) = state.hanging.iter().position(|method| *method == self.method) {
                state.hanging.swap_remove(at);
            }
        });
    }
}

/// Seconds since 1970.
pub(super) fn unix_time() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What sort of chat it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ChatKind {
    Private,
    Group { title: String, supergroup: bool },
}

/// One chat of one bot.
#[derive(Debug, Clone)]
pub(super) struct Chat {
    pub id: i64,
    pub kind: ChatKind,
    pub messages: BTreeMap<i64, Message>,
    /// The user blocked the bot, or the group threw it out.
    pub closed: bool,
    /// The supergroup that this group has become.
    pub migrated_to: Option<i64>,
    /// The newest chat action and when it was sent.
    pub action: Option<(String, Instant)>,
}

impl Chat {
    pub(super) fn new(id: i64, kind: ChatKind) -> Self {
        Self { id, kind, messages: BTreeMap::new(), closed: false, migrated_to: None, action: None }
    }
}

/// A tap on a button, and the bot's answer.
#[derive(Debug, Clone)]
pub(super) struct Tap {
    pub user: i64,
    pub chat: i64,
    pub answer: Option<TapAnswer>,
}

/// What `answerCallbackQuery` shows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TapAnswer {
    /// The notice; "" is none.
    pub text: String,
    /// Whether it is a dialog that the user has to close.
    pub alert: bool,
}

/// One bot.
#[derive(Debug)]
pub(super) struct Bot {
    pub id: i64,
    pub token: String,
    pub name: String,
    pub username: String,
    pub chats: BTreeMap<i64, Chat>,
    pub queue: Queue,
    pub taps: BTreeMap<String, Tap>,
    /// Commands and descriptions by (method subject, scope, language).
    pub texts: BTreeMap<(String, String, String), Value>,
    next_message: i64,
}

impl Bot {
    pub(super) fn wire(&self) -> Value {
        json!({ "id": self.id, "is_bot": true, "first_name": self.name, "username": self.username })
    }
}

/// Everything.
#[derive(Debug)]
pub(super) struct State {
    pub users: BTreeMap<i64, Profile>,
    pub bots: BTreeMap<i64, Bot>,
    pub calls: Log<Call>,
    pub deliveries: Log<Delivery>,
    pub faults: Vec<Fault>,
    /// The methods of the calls that hang at this moment.
    pub hanging: Vec<String>,
    pub time_scale: f64,
    next_album: u64,
    next_tap: u64,
    events: Vec<Value>,
}

/// A message that is yet to get its number.
pub(super) struct Draft {
    pub author: Author,
    pub content: Content,
    pub reply_to: Option<i64>,
    pub album: Option<String>,
    pub markup: Option<Markup>,
}

impl Draft {
    pub(super) fn new(author: Author, content: Content) -> Self {
        Self { author, content, reply_to: None, album: None, markup: None }
    }
}

impl State {
    fn new(options: &Options) -> Self {
        Self {
            users: BTreeMap::new(),
            bots: BTreeMap::new(),
            calls: Log::new(options.log_limit),
            deliveries: Log::new(options.log_limit),
            faults: Vec::new(),
            hanging: Vec::new(),
            time_scale: options.time_scale,
            next_album: 13_000_000_000_000_000,
            next_tap: 4_000_000_000_000_000_000,
            events: Vec::new(),
        }
    }

    /// Takes note of a person; one who is known keeps the language.
    pub(super) fn know(&mut self, id: i64, name: &str) {
        let fresh = || Profile { id, name: name.to_owned(), language: "en".to_owned() };
        name.clone_into(&mut self.users.entry(id).or_insert_with(fresh).name);
    }

    /// Sets the language of a person's app.
    pub(super) fn speak(&mut self, id: i64, language: &str) {
        if let Some(profile) = self.users.get_mut(&id) {
            language.clone_into(&mut profile.language);
        }
    }

    /// Turns a group into a supergroup of another id, and tells the bot on both sides.
    pub(super) fn migrate(&mut self, bot: i64, group: i64, supergroup: i64) -> Result<(), ApiError> {
        let old = self.chat(bot, group)?;
        let ChatKind::Group { title, .. } = old.kind.clone() else { return Err(ApiError::bad("chat not found")) };
        old.migrated_to = Some(supergroup);
        let kind = ChatKind::Group { title, supergroup: true };
        self.bot(bot)?.chats.insert(supergroup, Chat::new(supergroup, kind));
        for (chat, field, other) in
            [(group, "migrate_to_chat_id", supergroup), (supergroup, "migrate_from_chat_id", group)]
        {
            let draft = Draft::new(Author::Bot, Content::Other(field, other.into()));
            let message = self.post(bot, chat, draft)?;
            let wire = self.wire(bot, &message);
            self.push_update(bot, chat, "message", wire);
        }
        Ok(())
    }

    /// Adds a bot; its id is the number before the colon of the token.
    pub(super) fn add_bot(&mut self, token: &str, name: &str) -> Result<i64, ApiError> {
        let id = bot_id(token).ok_or_else(|| ApiError::bad("a token is NUMBER:SECRET"))?;
        let number = i64::try_from(self.bots.len()).unwrap_or_default();
        self.bots.entry(id).or_insert_with(|| Bot {
            id,
            token: token.to_owned(),
            name: name.to_owned(),
            username: format!(
                "{}_{id}_bot",
                name.to_lowercase().replace(|char: char| !char.is_ascii_alphanumeric(), "_")
            ),
            chats: BTreeMap::new(),
            queue: Queue::new(700_000_001 + number * 1_000_000, self.time_scale),
            taps: BTreeMap::new(),
            texts: BTreeMap::new(),
            next_message: 1,
        });
        Ok(id)
    }

    pub(super) fn bot(&mut self, id: i64) -> Result<&mut Bot, ApiError> {
        self.bots.get_mut(&id).ok_or_else(ApiError::unauthorized)
    }

    pub(super) fn chat(&mut self, bot: i64, chat: i64) -> Result<&mut Chat, ApiError> {
        self.bot(bot)?.chats.get_mut(&chat).ok_or_else(|| ApiError::bad("chat not found"))
    }

    pub(super) fn message(&mut self, bot: i64, chat: i64, id: i64) -> Option<&mut Message> {
        self.bots.get_mut(&bot)?.chats.get_mut(&chat)?.messages.get_mut(&id)
    }

    /// A new `media_group_id`.
    pub(super) fn new_album(&mut self) -> String {
        self.next_album += 1;
        self.next_album.to_string()
    }

    /// A new id of a callback query.
    pub(super) fn new_tap(&mut self, bot: i64, tap: Tap) -> Result<String, ApiError> {
        self.next_tap += 1;
        let id = self.next_tap.to_string();
        self.bot(bot)?.taps.insert(id.clone(), tap);
        Ok(id)
    }

    /// Puts a message into a chat and shows it on the page.
    pub(super) fn post(&mut self, bot: i64, chat: i64, draft: Draft) -> Result<Message, ApiError> {
        self.chat(bot, chat)?;
        let owner = self.bot(bot)?;
        let id = owner.next_message;
        owner.next_message += 1;
        let Draft { author, content, reply_to, album, markup } = draft;
        let message = Message {
            id,
            chat,
            author,
            date: unix_time(),
            edited: None,
            edits: 0,
            reply_to,
            album,
            content,
            markup,
            reactions: Vec::new(),
        };
        let place = self.chat(bot, chat)?;
        place.messages.insert(id, message.clone());
        if author == Author::Bot {
            place.action = None;
        }
        self.emit_message(bot, "message", &message);
        Ok(message)
    }

    /// Counts an edit and shows it on the page; `stamp` also sets the time that users see.
    pub(super) fn note_edit(&mut self, bot: i64, chat: i64, id: i64, stamp: bool) -> Option<Message> {
        let message = self.message(bot, chat, id)?;
        message.edits += 1;
        if stamp {
            message.edited = Some(unix_time());
        }
        let message = message.clone();
        self.emit_message(bot, "edited", &message);
        Some(message)
    }

    pub(super) fn emit_message(&mut self, bot: i64, event: &str, message: &Message) {
        let shown = self.page_message(bot, message);
        self.emit(bot, message.chat, event, &shown);
    }

    /// Tells the chat pages; sent after the lock is released.
    pub(super) fn emit(&mut self, bot: i64, chat: i64, event: &str, data: &Value) {
        self.events.push(json!({ "event": event, "bot": bot, "chat": chat, "data": data }));
    }

    /// Queues an update for the bot.
    pub(super) fn push_update(&mut self, bot: i64, chat: i64, kind: &'static str, content: Value) -> Option<i64> {
        self.bots.get_mut(&bot)?.queue.push(chat, kind, content, Instant::now())
    }
}

/// The number before the colon; a token is `NUMBER:SECRET`.
pub(super) fn bot_id(token: &str) -> Option<i64> {
    let (number, secret) = token.split_once(':')?;
    let fits = !secret.is_empty() && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    number.parse().ok().filter(|id| fits && *id > 0)
}
