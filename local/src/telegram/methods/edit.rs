//! The methods that change what is there.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{caption_of, entities, markup, open_chat, send};
use crate::telegram::error::ApiError;
use crate::telegram::message::{Author, Content, Markup, Message};
use crate::telegram::params::Params;
use crate::telegram::state::{Shared, State, TapAnswer};

const NOT_MODIFIED: &str = "message is not modified: specified new message content and reply markup are exactly \
                            the same as a current content and reply markup of the message";

pub(super) fn text(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let text = params.text("text").ok_or_else(|| ApiError::bad("message text is empty"))?;
    let text = entities::text(&text, params.text("parse_mode").as_deref(), params.nested("entities")?)?;
    let markup = markup(params)?;
    edit(shared, bot, params, |message| match &mut message.content {
        Content::Text(old) => {
            *old = text;
            message.markup = markup;
            Ok(())
        }
        _ => Err(ApiError::bad("there is no text in the message to edit")),
    })
}

pub(super) fn caption(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let (caption, markup) = (send::caption(params)?, markup(params)?);
    edit(shared, bot, params, |message| {
        let old = caption_of(&mut message.content);
        *old.ok_or_else(|| ApiError::bad("there is no caption in the message to edit"))? = caption;
        message.markup = markup;
        Ok(())
    })
}

pub(super) async fn media(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    // First whether there is a message at all: a picture takes a while.
    own_message(&mut shared.state(), bot, params)?;
    let media: Value = params.nested("media")?.ok_or_else(|| ApiError::bad("media is not specified"))?;
    let (content, markup) = (send::input_media(shared, bot, params, &media).await?, markup(params)?);
    edit(shared, bot, params, |message| {
        let kind = std::mem::discriminant(&message.content);
        if message.album.is_some() && kind != std::mem::discriminant(&content) {
            return Err(ApiError::bad("can't use chosen media type in the album"));
        }
        message.content = content;
        message.markup = markup;
        Ok(())
    })
}

pub(super) fn reply_markup(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let markup = markup(params)?;
    edit(shared, bot, params, |message| {
        message.markup = markup;
        Ok(())
    })
}

/// Changes a message of the bot's own; a change that changes nothing is an error.
fn edit(
    shared: &Shared,
    bot: i64,
    params: &Params,
    change: impl FnOnce(&mut Message) -> Result<(), ApiError>,
) -> Result<Value, ApiError> {
    shared.change(|state| {
        let message = own_message(state, bot, params)?;
        let mut new = message.clone();
        change(&mut new)?;
        if matches!(new.markup, Some(Markup::Reply(_))) {
            return Err(ApiError::bad("inline keyboard expected"));
        }
        if new == *message {
            return Err(ApiError::bad(NOT_MODIFIED));
        }
        let words_changed = new.content != message.content;
        let (chat, id) = (new.chat, new.id);
        *message = new;
        let message = state.note_edit(bot, chat, id, words_changed).ok_or_else(|| not_found("edit"))?;
        Ok(state.wire(bot, &message))
    })
}

fn not_found(verb: &str) -> ApiError {
    ApiError::bad(format_args!("message to {verb} not found"))
}

fn own_message<'a>(state: &'a mut State, bot: i64, params: &Params) -> Result<&'a mut Message, ApiError> {
    let id = params.integer("message_id")?.ok_or_else(|| ApiError::bad("message identifier is not specified"))?;
    let message = open_chat(state, bot, params)?.messages.get_mut(&id).ok_or_else(|| not_found("edit"))?;
    if message.author == Author::Bot { Ok(message) } else { Err(ApiError::bad("message can't be edited")) }
}

pub(super) fn delete(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let id = params.integer("message_id")?.ok_or_else(|| ApiError::bad("message identifier is not specified"))?;
    shared.change(|state| remove(state, bot, params, id)?.then_some(json!(true)).ok_or_else(|| not_found("delete")))
}

pub(super) fn delete_several(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let ids: Vec<i64> = params.nested("message_ids")?.unwrap_or_default();
    if !(1..=100).contains(&ids.len()) {
        return Err(ApiError::bad("message identifiers are not specified"));
    }
    shared.change(|state| {
        // Those that are not there are skipped.
        ids.iter().try_for_each(|id| remove(state, bot, params, *id).map(drop))?;
        Ok(json!(true))
    })
}

fn remove(state: &mut State, bot: i64, params: &Params, id: i64) -> Result<bool, ApiError> {
    let chat = open_chat(state, bot, params)?;
    let (chat, found) = (chat.id, chat.messages.remove(&id).is_some());
    if found {
        state.emit(bot, chat, "deleted", json!({ "message_id": id }));
    }
    Ok(found)
}

pub(super) fn reaction(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let id = params.integer("message_id")?.ok_or_else(|| ApiError::bad("message identifier is not specified"))?;
    let reactions: Vec<Value> = params.nested("reaction")?.unwrap_or_default();
    let emoji = |reaction: &Value| reaction["emoji"].as_str().map(str::to_owned);
    let reactions: Option<Vec<String>> = reactions.iter().map(emoji).collect();
    let reactions = reactions.filter(|all| all.len() <= 1).ok_or_else(|| ApiError::bad("REACTION_INVALID"))?;
    shared.change(|state| {
        let message = open_chat(state, bot, params)?.messages.get_mut(&id);
        let message = message.ok_or_else(|| ApiError::bad("message to react not found"))?;
        message.reactions = reactions;
        let message = message.clone();
        state.emit_message(bot, "edited", &message);
        Ok(json!(true))
    })
}

pub(super) fn answer_tap(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let id = params.text("callback_query_id").unwrap_or_default();
    let text = params.text("text").unwrap_or_default();
    if text.chars().count() > 200 {
        return Err(ApiError::bad("MESSAGE_TOO_LONG"));
    }
    let answer = TapAnswer { text, alert: params.flag("show_alert") };
    shared.change(|state| {
        let gone = || ApiError::bad("query is too old and response timeout expired or query ID is invalid");
        let tap = state.bot(bot)?.taps.get_mut(&id).ok_or_else(gone)?;
        if tap.answer.is_some() {
            return Err(gone());
        }
        tap.answer = Some(answer.clone());
        let (chat, user) = (tap.chat, tap.user);
        let shown = json!({ "tap": id, "user": user, "text": answer.text, "alert": answer.alert });
        state.emit(bot, chat, "answer", shown);
        Ok(json!(true))
    })
}
