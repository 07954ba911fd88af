//! Commands.

use super::button;
use crate::{
    app::Talk,
    identity::Identity,
    store::chat::{CAPTION_HOURS, Kept, UNDO_DEPTH},
    trouble::Trouble,
};
use teloxide::types::{FileId, InputFile, Message};

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// What the bot can do.
    Help,
    /// Language and confidence.
    Settings,
    /// The picture before the last one.
    Undo,
    /// Call off what waits.
    Cancel,
    /// What is kept, and how to delete it.
    Privacy,
}

/// The command of a message. `help` and `hello` count as one, if nothing else is said; a command to another bot does not.
pub fn of(talk: &Talk, message: &Message) -> Option<Command> {
    let said = message.text()?.trim().to_lowercase();
    if said == "help" || said == "hello" { Some(Command::Help) } else { named(&talk.identity, message) }
}

/// The command that a message names with a slash, as the menu has it.
pub fn named(me: &Identity, message: &Message) -> Option<Command> {
    let said = message.text()?.trim().to_lowercase();
    let word = said.split_whitespace().next()?.strip_prefix('/')?;
    let name = match word.split_once('@') {
        Some((name, bot)) if bot.eq_ignore_ascii_case(&me.username) => name,
        Some(_) => return None,
        None => word,
    };
    match name {
        "start" | "help" => Some(Command::Help),
        "settings" => Some(Command::Settings),
        "undo" => Some(Command::Undo),
        "cancel" => Some(Command::Cancel),
        "privacy" => Some(Command::Privacy),
        _ => None,
    }
}

/// Answers a command.
pub async fn answer(talk: Talk, message: Message, command: Command) -> Result<(), Trouble> {
    let language = talk.language;
    // In a topic of a forum, only a reply comes where it was asked.
    let to = (!message.chat.is_private()).then_some(message.id);
    match command {
        Command::Help => talk.to().text(&language.help(), to, None).await.map(drop),
        Command::Settings => {
            let (text, buttons) = button::settings(&talk);
            talk.to().text(&text, to, Some(&buttons)).await.map(drop)
        }
        Command::Privacy => {
            let arguments = [("undo", UNDO_DEPTH.into()), ("hours", CAPTION_HOURS.into())];
            let text = language.text("privacy", &arguments);
            talk.to().text(&text, to, Some(&button::privacy(language))).await.map(drop)
        }
        Command::Cancel => {
            let count = talk.app.store.cancel_albums(talk.chat).await?;
            let text = language.text("cancel-done", &[("count", count.into())]);
            talk.to().text(&text, Some(message.id), None).await.map(drop)
        }
        Command::Undo => undo(&talk, &message).await,
    }
}

/// Sends the picture before the last one again, by its file id.
async fn undo(talk: &Talk, message: &Message) -> Result<(), Trouble> {
    let stack = talk.app.store.undo_stack(talk.chat).await?;
    let [.., before, last] = stack.as_slice() else {
        return talk.to().text(&talk.language.text("undo-nothing", &[]), Some(message.id), None).await.map(drop);
    };
    let caption = talk.language.text("undo-done", &[]);
    match before {
        Kept::Photo(id) => talk.to().photo(InputFile::file_id(FileId(id.clone())), &caption, Some(message.id)).await?,
        Kept::Document(id) => {
            talk.to().document(InputFile::file_id(FileId(id.clone())), &caption, Some(message.id)).await?
        }
    };
    talk.app.store.pop_undo(talk.chat, last).await
}
