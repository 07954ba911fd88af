//! Which update goes where.

use crate::{
    albums,
    app::{App, Talk},
    talk,
    trouble::Trouble,
};
use dptree::Handler;
use std::{ops::ControlFlow, sync::Arc};
use teloxide::types::{AllowedUpdate, CallbackQuery, Message, Update, UpdateKind};

/// The updates that the bot asks Telegram for.
pub const ALLOWED: [AllowedUpdate; 3] =
    [AllowedUpdate::Message, AllowedUpdate::EditedMessage, AllowedUpdate::CallbackQuery];

/// What a handler ends with.
pub type Outcome = Result<(), Trouble>;

/// Every kind of update, and what answers it. What falls through is not for this bot.
pub fn schema() -> Handler<'static, Outcome> {
    dptree::entry()
        .branch(
            dptree::filter_map(message)
                .branch(dptree::filter(|m: Message| m.migrate_to_chat_id().is_some()).endpoint(talk::group::migrated))
                .branch(dptree::filter(|m: Message| talk::is_for_nobody(&m)).endpoint(nothing))
                .branch(
                    dptree::filter_map(|t: Talk, m: Message| talk::command::of(&t, &m)).endpoint(talk::command::answer),
                )
                .branch(dptree::filter_map(|m: Message| talk::photo::album_of(&m)).endpoint(albums::join))
                .branch(dptree::filter_map(|m: Message| talk::photo::of(&m)).endpoint(talk::photo::came))
                .branch(dptree::filter_map(|m: Message| talk::text::filter_of_reply(&m)).endpoint(talk::photo::answer))
                .branch(dptree::filter(|m: Message| m.text().is_some()).endpoint(talk::text::echo))
                .endpoint(talk::not_understood),
        )
        .branch(
            dptree::filter_map(edited)
                .branch(dptree::filter_map(|m: Message| talk::photo::album_of(&m)).endpoint(albums::edited))
                .branch(dptree::filter_map(|m: Message| talk::photo::of(&m)).endpoint(talk::photo::edited))
                .endpoint(nothing),
        )
        .branch(dptree::filter_map(tap).endpoint(talk::button::tapped))
}

/// Handles an update.
pub async fn handle(schema: &Handler<'static, Outcome>, app: &Arc<App>, update: Update) -> Outcome {
    let Some(chat) = update.chat().map(|chat| chat.id) else { return Ok(()) };
    if !talk::group::concerns(&app.identity.now(), &update) {
        return Ok(());
    }
    // Whoever writes as a group or channel has one name with all others who do: no rate and no language is theirs.
    let user = update.from().filter(|user| !user.is_bot).cloned();
    let talk = Talk::begin(app, chat, user.as_ref(), update.id.0);
    let (talk, within) = tokio::try_join!(talk, talk::count(app, user.as_ref()))?;
    match within {
        talk::Rate::Within => {}
        talk::Rate::JustOver => return talk::over_rate(&talk).await,
        talk::Rate::Over => return Ok(()),
    }
    match schema.dispatch(dptree::deps![talk, update]).await {
        ControlFlow::Break(outcome) => outcome,
        ControlFlow::Continue(_) => Ok(()),
    }
}

fn message(update: Update) -> Option<Message> {
    if let UpdateKind::Message(message) = update.kind { Some(message) } else { None }
}

fn edited(update: Update) -> Option<Message> {
    if let UpdateKind::EditedMessage(message) = update.kind { Some(message) } else { None }
}

fn tap(update: Update) -> Option<CallbackQuery> {
    if let UpdateKind::CallbackQuery(query) = update.kind { Some(query) } else { None }
}

async fn nothing() -> Outcome {
    Ok(())
}
