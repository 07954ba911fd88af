//! The methods of the Bot API, one function each, and the table that finds them.

mod about;
mod edit;
mod entities;
mod receive;
mod send;

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::ApiError;
use super::message::{Content, Markup};
use super::params::Params;
use super::state::{Chat, ChatKind, Shared, State};

/// `result`, and the `description` that a few methods give beside it.
#[derive(Debug)]
pub(super) struct Reply {
    pub result: Value,
    pub description: Option<&'static str>,
}

impl From<Value> for Reply {
    fn from(result: Value) -> Self {
        Self { result, description: None }
    }
}

const METHODS: [&str; 34] = [
    "answerCallbackQuery",
    "deleteMessage",
    "deleteMessages",
    "deleteMyCommands",
    "deleteWebhook",
    "editMessageCaption",
    "editMessageMedia",
    "editMessageReplyMarkup",
    "editMessageText",
    "getChat",
    "getFile",
    "getMe",
    "getMyCommands",
    "getMyDescription",
    "getMyName",
    "getMyShortDescription",
    "getUpdates",
    "getWebhookInfo",
    "sendChatAction",
    "sendDocument",
    "sendMediaGroup",
    "sendMessage",
    "sendPhoto",
    "setMessageReaction",
    "setMyCommands",
    "setMyDescription",
    "setMyName",
    "setMyShortDescription",
    "setWebhook",
    // Known to Telegram and taken note of, without an effect here.
    "leaveChat",
    "pinChatMessage",
    "setChatMenuButton",
    "setMyDefaultAdministratorRights",
    "unpinChatMessage",
];

/// Telegram's spelling of a method in any case.
pub(super) fn canonical(method: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| known.eq_ignore_ascii_case(method))
}

/// Carries out one call.
pub(super) async fn call(
    shared: Arc<Shared>,
    bot: i64,
    method: &'static str,
    params: Params,
) -> Result<Reply, ApiError> {
    let (shared, params) = (&shared, &params);
    let result = match method {
        "setWebhook" => return receive::set_webhook(shared, bot, params),
        "deleteWebhook" => return receive::delete_webhook(shared, bot, params),
        "getWebhookInfo" => receive::webhook_info(shared, bot),
        "getUpdates" => receive::updates(shared, bot, params).await,
        "getFile" => receive::file(shared, bot, params),
        "sendMessage" => send::message(shared, bot, params),
        "sendPhoto" => send::photo(shared, bot, params).await,
        "sendDocument" => send::document(shared, bot, params).await,
        "sendMediaGroup" => send::media_group(shared, bot, params).await,
        "sendChatAction" => send::chat_action(shared, bot, params),
        "setMessageReaction" => edit::reaction(shared, bot, params),
        "editMessageText" => edit::text(shared, bot, params),
        "editMessageCaption" => edit::caption(shared, bot, params),
        "editMessageMedia" => edit::media(shared, bot, params).await,
        "editMessageReplyMarkup" => edit::reply_markup(shared, bot, params),
        "deleteMessage" => edit::delete(shared, bot, params),
        "deleteMessages" => edit::delete_several(shared, bot, params),
        "answerCallbackQuery" => edit::answer_tap(shared, bot, params),
        "getMe" => about::me(shared, bot),
        "getChat" => about::chat(shared, bot, params),
        "setMyCommands" => about::set_commands(shared, bot, params),
        "getMyCommands" => about::commands(shared, bot, params),
        "deleteMyCommands" => about::delete_commands(shared, bot, params),
        "setMyName" | "setMyDescription" | "setMyShortDescription" => about::set_text(shared, bot, method, params),
        "getMyName" | "getMyDescription" | "getMyShortDescription" => about::text(shared, bot, method, params),
        _ => Ok(json!(true)),
    };
    result.map(Reply::from)
}

/// The chat that a call names, if the bot may write there.
fn open_chat<'a>(state: &'a mut State, bot: i64, params: &Params) -> Result<&'a mut Chat, ApiError> {
    let id = params.text("chat_id").filter(|id| !id.is_empty()).ok_or_else(|| ApiError::bad("chat_id is empty"))?;
    let id = id.trim().parse().map_err(|_| ApiError::bad("chat not found"))?;
    let chat = state.chat(bot, id)?;
    if let Some(supergroup) = chat.migrated_to {
        return Err(ApiError::migrated(supergroup));
    }
    match (&chat.kind, chat.closed) {
        (_, false) => Ok(chat),
        (ChatKind::Private, true) => Err(ApiError::forbidden("bot was blocked by the user")),
        (ChatKind::Group { supergroup, .. }, true) => {
            let kind = if *supergroup { "supergroup" } else { "group" };
            Err(ApiError::forbidden(format_args!("bot was kicked from the {kind} chat")))
        }
    }
}

/// `reply_markup`, checked.
fn markup(params: &Params) -> Result<Option<Markup>, ApiError> {
    let Some(value) = params.nested::<Value>("reply_markup")? else { return Ok(None) };
    let Some(rows) = value.get("inline_keyboard") else {
        if !value.is_object() {
            return Err(ApiError::bad("object expected as reply markup"));
        }
        return Ok((value != json!({})).then_some(Markup::Reply(value)));
    };
    let rows: Vec<Vec<super::message::Button>> = serde_json::from_value(rows.clone())
        .map_err(|error| ApiError::bad(format_args!("can't parse inline keyboard button: {error}")))?;
    for button in rows.iter().flatten() {
        if button.text.trim().is_empty() {
            return Err(ApiError::bad(
                "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
            ));
        }
        match (&button.callback_data, &button.url) {
            (Some(data), _) if data.is_empty() || data.len() > 64 => return Err(ApiError::bad("BUTTON_DATA_INVALID")),
            (None, None) => {
                return Err(ApiError::bad(
                    "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard",
                ));
            }
            _ => {}
        }
    }
    let rows: Vec<_> = rows.into_iter().filter(|row| !row.is_empty()).collect();
    Ok((!rows.is_empty()).then_some(Markup::Inline(rows)))
}

/// Whether what a message holds has a caption.
fn caption_of(content: &mut Content) -> Option<&mut super::message::Text> {
    match content {
        Content::Photo { caption, .. } | Content::Document { caption, .. } => Some(caption),
        Content::Text(_) | Content::Other(..) => None,
    }
}
