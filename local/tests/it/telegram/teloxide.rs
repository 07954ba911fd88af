//! The library that the bot is built on, against the stand-in: every update and answer is what its types expect.

use futures::StreamExt;
use image::ImageFormat::Png;
use local::telegram::{Attachment, LocalTelegram};
use teloxide::net::Download;
use teloxide::prelude::*;
use teloxide::types::{
    BotCommand, ChatAction, FileId, InlineKeyboardButton, InlineKeyboardMarkup, InputFile, InputMedia, InputMediaPhoto,
    ParseMode, ReactionType, ReplyParameters, UpdateKind,
};
use teloxide::{ApiError, RequestError};

use super::support::{SOON, picture};

fn bot(telegram: &LocalTelegram) -> Bot {
    Bot::new(telegram.token()).set_api_url(telegram.url().parse().unwrap())
}

#[tokio::test]
async fn every_kind_of_update_is_understood() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (bot, user) = (bot(&telegram), telegram.user(7, "Ada"));
    let text = user.send_text("/start https://example.com").unwrap();
    let photo = user.send_photo(picture(64, 48, Png), "blur").await.unwrap();
    user.send_album(vec![picture(64, 48, Png).into(), picture(48, 64, Png).into()], "concat").await.unwrap();
    user.send_document("a.png", picture(64, 48, Png), "gray").await.unwrap();
    let file = |name: &str| Attachment { name: name.to_owned(), bytes: "text".into() };
    user.send_documents(vec![file("a.txt"), file("b.heic")], "both").await.unwrap();
    user.reply(&photo, "rotate").unwrap();
    user.send_sticker("🐶").unwrap();
    user.send_voice(3).unwrap();
    user.send_location(32.1, 34.8).unwrap();
    user.edit_text(text.id, "/help").unwrap();
    user.edit_caption(photo.id, "contour").unwrap();
    user.block().unwrap();
    user.unblock().unwrap();
    telegram.group(-5, "Friends");
    user.in_group(-5).send_text("hi all").unwrap();
    telegram.migrate(-5, -1_000_000_000_005).unwrap();
    let keyboard = InlineKeyboardMarkup::new([[InlineKeyboardButton::callback("Blur", "blur 16")]]);
    bot.send_message(ChatId(7), "choose").reply_markup(keyboard).await.unwrap();
    let question = user.next_message(SOON).await.unwrap();
    user.tap(question.id, "Blur").unwrap();

    let updates = bot.get_updates().await.unwrap();
    for update in &updates {
        assert!(!matches!(update.kind, UpdateKind::Error(_)), "not understood: {update:?}");
    }
    assert_eq!(updates.len(), 19);
    let UpdateKind::CallbackQuery(query) = &updates[18].kind else { panic!("no tap: {:?}", updates[18]) };
    assert_eq!(query.data.as_deref(), Some("blur 16"));
    assert_eq!(query.regular_message().and_then(|message| message.text()), Some("choose"));
    bot.answer_callback_query(query.id.clone()).text("on it").await.unwrap();
}

#[tokio::test]
async fn every_method_that_a_bot_of_pictures_calls_is_answered() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (bot, user) = (bot(&telegram), telegram.user(7, "Ada"));
    let chat = ChatId(7);
    let question = user.send_photo(picture(640, 480, Png), "predict").await.unwrap();
    assert!(bot.get_me().await.unwrap().is_bot);
    bot.set_my_commands([BotCommand::new("start", "begin")]).await.unwrap();
    assert_eq!(bot.get_my_commands().await.unwrap().len(), 1);
    bot.send_chat_action(chat, ChatAction::UploadPhoto).await.unwrap();
    assert_eq!(user.action().as_deref(), Some("upload_photo"));

    let file = bot.get_file(FileId(question.file().unwrap().id.clone())).await.unwrap();
    let mut bytes = Vec::new();
    bot.download_file(&file.path, &mut bytes).await.unwrap();
    assert_eq!(bytes.len(), file.size as usize);
    let parts = bot.download_file_stream(&file.path).collect::<Vec<_>>().await;
    assert!(parts.iter().all(Result::is_ok));

    let reply = ReplyParameters::new(teloxide::types::MessageId(i32::try_from(question.id).unwrap()));
    let progress = bot.send_message(chat, "<b>Looking</b>").parse_mode(ParseMode::Html).reply_parameters(reply);
    let progress = progress.await.unwrap();
    assert_eq!(progress.reply_to_message().map(|message| message.id.0), Some(i32::try_from(question.id).unwrap()));
    bot.edit_message_text(chat, progress.id, "Found").await.unwrap();
    let same = bot.edit_message_text(chat, progress.id, "Found").await.unwrap_err();
    assert!(matches!(same, RequestError::Api(ApiError::MessageNotModified)), "{same:?}");
    let media = InputMediaPhoto::new(InputFile::memory(bytes.clone()).file_name("p.jpg")).caption("Dog: 2");
    let edited = bot.edit_message_media(chat, progress.id, InputMedia::Photo(media)).await.unwrap();
    assert_eq!((edited.caption(), edited.photo().map(<[_]>::len)), (Some("Dog: 2"), Some(3)));
    bot.edit_message_caption(chat, progress.id).caption("Dog: 3").await.unwrap();
    bot.set_message_reaction(chat, progress.id).reaction([ReactionType::Emoji { emoji: "👍".into() }]).await.unwrap();

    let sent = bot.send_photo(chat, InputFile::memory(bytes.clone())).caption("x").await.unwrap();
    let again = InputFile::file_id(sent.photo().unwrap().last().unwrap().file.id.clone());
    bot.send_photo(chat, again.clone()).await.unwrap();
    bot.send_document(chat, InputFile::memory(bytes.clone()).file_name("p.jpg")).await.unwrap();
    let album = [again, InputFile::memory(bytes)].map(|file| InputMedia::Photo(InputMediaPhoto::new(file)));
    assert_eq!(bot.send_media_group(chat, album).await.unwrap().len(), 2);
    bot.delete_message(chat, sent.id).await.unwrap();

    user.block().unwrap();
    let blocked = bot.send_message(chat, "x").await.unwrap_err();
    assert!(matches!(blocked, RequestError::Api(ApiError::BotBlocked)), "{blocked:?}");
    assert_eq!(bot.get_webhook_info().await.unwrap().pending_update_count, 2);
}

#[tokio::test]
async fn refusals_have_the_kind_that_the_library_knows() {
    let telegram = LocalTelegram::start().await.unwrap();
    let (bot, user) = (bot(&telegram), telegram.user(7, "Ada"));
    user.send_text("hi").unwrap();
    telegram.fault(local::telegram::Fault::next(
        "sendMessage",
        local::telegram::FaultKind::TooManyRequests { retry_after: 7 },
    ));
    let limited = bot.send_message(ChatId(7), "x").await.unwrap_err();
    assert!(matches!(limited, RequestError::RetryAfter(pause) if pause.seconds() == 7), "{limited:?}");
    telegram.group(-5, "Friends");
    telegram.migrate(-5, -1_000_000_000_005).unwrap();
    let moved = bot.send_message(ChatId(-5), "x").await.unwrap_err();
    assert!(matches!(moved, RequestError::MigrateToChatId(ChatId(-1_000_000_000_005))), "{moved:?}");
    let unknown = bot.send_message(ChatId(9), "x").await.unwrap_err();
    assert!(matches!(unknown, RequestError::Api(ApiError::ChatNotFound)), "{unknown:?}");
    let wrong = Bot::new("123456:wrong").set_api_url(telegram.url().parse().unwrap());
    let stranger = wrong.get_me().await.unwrap_err();
    assert!(matches!(stranger, RequestError::Api(ApiError::InvalidToken)), "{stranger:?}");
    telegram.fault(local::telegram::Fault::next("getMe", local::telegram::FaultKind::DropBefore));
    assert!(matches!(bot.get_me().await.unwrap_err(), RequestError::Network(_)));
}
