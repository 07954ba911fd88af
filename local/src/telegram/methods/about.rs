//! What a bot tells of itself, and what it may ask of a chat.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::open_chat;
use crate::telegram::error::ApiError;
use crate::telegram::params::Params;
use crate::telegram::state::Shared;

pub(super) fn me(shared: &Arc<Shared>, bot: i64) -> Result<Value, ApiError> {
    let mut me = shared.state().bot(bot)?.wire();
    for (name, value) in [
        ("can_join_groups", true),
        ("can_read_all_group_messages", true),
        ("supports_inline_queries", false),
        ("can_connect_to_business", false),
        ("has_main_web_app", false),
    ] {
        me[name] = value.into();
    }
    Ok(me)
}

pub(super) fn chat(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let mut state = shared.state();
    let id = open_chat(&mut state, bot, params)?.id;
    let mut chat = state.chat_wire(bot, id);
    chat["accent_color_id"] = 0.into();
    chat["max_reaction_count"] = 11.into();
    chat["accepted_gift_types"] = json!({
        "unlimited_gifts": true, "limited_gifts": true, "unique_gifts": true, "premium_subscription": true,
        "gifts_from_channels": true,
    });
    Ok(chat)
}

#[derive(Debug, Serialize, Deserialize)]
struct Command {
    command: String,
    description: String,
}

/// Commands are kept for each scope and language.
fn commands_key(params: &Params) -> Result<(String, String, String), ApiError> {
    let scope = params.nested::<Value>("scope")?.unwrap_or_else(|| json!({ "type": "default" }));
    Ok(("commands".to_owned(), scope.to_string(), params.text("language_code").unwrap_or_default()))
}

pub(super) fn set_commands(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let commands: Vec<Command> = params.nested("commands")?.unwrap_or_default();
    if commands.len() > 100 {
        return Err(ApiError::bad("BOT_COMMANDS_TOO_MUCH"));
    }
    for Command { command, description } in &commands {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if command.is_empty() || command.len() > 32 || !command.bytes().all(named) {
            return Err(ApiError::bad("BOT_COMMAND_INVALID"));
        }
        if description.is_empty() || description.chars().count() > 256 {
            return Err(ApiError::bad("BOT_COMMAND_DESCRIPTION_INVALID"));
        }
    }
    let key = commands_key(params)?;
    shared.change(|state| {
        state.bot(bot)?.texts.insert(key, json!(commands));
        state.emit(bot, 0, "commands", json!(commands));
        Ok(json!(true))
    })
}

pub(super) fn commands(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let key = commands_key(params)?;
    Ok(shared.state().bot(bot)?.texts.get(&key).cloned().unwrap_or_else(|| json!([])))
}

pub(super) fn delete_commands(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let key = commands_key(params)?;
    shared.change(|state| state.bot(bot).map(|bot| bot.texts.remove(&key)))?;
    Ok(json!(true))
}

/// Field of the argument and of the answer, and the longest value.
fn field(method: &str) -> (&'static str, usize) {
    if method.ends_with("MyName") {
        ("name", 64)
    } else if method.ends_with("ShortDescription") {
        ("short_description", 120)
    } else {
        ("description", 512)
    }
}

pub(super) fn set_text(shared: &Arc<Shared>, bot: i64, method: &str, params: &Params) -> Result<Value, ApiError> {
    let (field, longest) = field(method);
    let value = params.text(field).unwrap_or_default();
    if value.chars().count() > longest {
        return Err(ApiError::bad(format_args!("bot {} is too long", field.replace('_', " "))));
    }
    let key = (field.to_owned(), String::new(), params.text("language_code").unwrap_or_default());
    shared.change(|state| state.bot(bot).map(|bot| bot.texts.insert(key, value.into())))?;
    Ok(json!(true))
}

pub(super) fn text(shared: &Arc<Shared>, bot: i64, method: &str, params: &Params) -> Result<Value, ApiError> {
    let (field, _) = field(method);
    let key = (field.to_owned(), String::new(), params.text("language_code").unwrap_or_default());
    let mut state = shared.state();
    let bot = state.bot(bot)?;
    let unset = if field == "name" { bot.name.as_str() } else { "" };
    Ok(json!({ field: bot.texts.get(&key).cloned().unwrap_or_else(|| unset.into()) }))
}
