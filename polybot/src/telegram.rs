//! Calls of the Bot API: repeated while that may help, silent where the user has left.

use crate::{
    picture::read::MAX_BYTES,
    source::Source,
    store::chat::Kept,
    trouble::{Remedy, Trouble, remedy},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use std::time::Duration;
use teloxide::{
    ApiError, Bot, RequestError,
    net::Download,
    payloads::{
        EditMessageTextSetters, SendDocumentSetters, SendMediaGroupSetters, SendMessageSetters, SendPhotoSetters,
    },
    prelude::{Request, Requester},
    types::{
        ChatAction, ChatId, FileId, InlineKeyboardMarkup, InputFile, InputMedia, InputMediaPhoto, Message, MessageId,
        ReplyParameters,
    },
};

/// Longest time that a call waits for its next try; whoever asked has to come again where Telegram wants more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Tries of one call.
const TRIES: u32 = 3;
/// The most characters of a message, as UTF-16 code units.
const MAX_TEXT: usize = 4096;
/// The most characters of a caption, as UTF-16 code units.
const MAX_CAPTION: usize = 1024;

/// A chat to send to.
#[derive(Clone, Copy)]
pub struct Chat<'a> {
    /// The client.
    pub bot: &'a Bot,
    /// The chat.
    pub id: ChatId,
}

/// Why there is no file to work on. The words for it are in the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoFile {
    /// Telegram gives out no file of this length.
    TooLarge,
    /// Telegram does not know the file any more.
    Gone,
}

/// Repeats a call while that may help. None where the user has left or the message is gone, which is no error.
pub async fn call<T, F>(name: &'static str, mut once: impl FnMut() -> F) -> Result<Option<T>, Trouble>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let mut tried = 0;
    loop {
        tried += 1;
        let error = match once().await {
            Ok(answer) => return Ok(Some(answer)),
            Err(error) => error,
        };
        match remedy(&error) {
            Remedy::Nothing => return Ok(None),
            Remedy::Again(wait) if wait <= PATIENCE && tried < TRIES => {
                metrics::counter!("polybot_telegram_retries_total", "method" => name).increment(1);
                tokio::time::sleep(wait).await;
            }
            Remedy::Again(_) | Remedy::GiveUp => return Err(Trouble::Telegram { call: name, source: error }),
        }
    }
}

impl Chat<'_> {
    /// Sends a text, perhaps in reply to a message and with buttons.
    pub async fn text(
        &self,
        text: &str,
        reply_to: Option<MessageId>,
        buttons: Option<&InlineKeyboardMarkup>,
    ) -> Result<Option<Message>, Trouble> {
        let text = shortened(text, MAX_TEXT);
        self.migrating("sendMessage", reply_to, |chat, to| {
            let mut send = self.bot.send_message(chat, text);
            if let Some(message) = to {
                send = send.reply_parameters(reply(message));
            }
            if let Some(buttons) = buttons {
                send = send.reply_markup(buttons.clone());
            }
            send.send()
        })
        .await
    }

    /// Sends a photo in reply to a message.
    pub async fn photo(
        &self,
        file: InputFile,
        caption: &str,
        to: Option<MessageId>,
    ) -> Result<Option<Message>, Trouble> {
        let caption = shortened(caption, MAX_CAPTION);
        self.migrating("sendPhoto", to, |chat, to| {
            let mut send = self.bot.send_photo(chat, file.clone());
            if let Some(message) = to {
                send = send.reply_parameters(reply(message));
            }
            if !caption.is_empty() {
                send = send.caption(caption);
            }
            send.send()
        })
        .await
    }

    /// Sends a document in reply to a message.
    pub async fn document(
        &self,
        file: InputFile,
        caption: &str,
        to: Option<MessageId>,
    ) -> Result<Option<Message>, Trouble> {
        let caption = shortened(caption, MAX_CAPTION);
        self.migrating("sendDocument", to, |chat, to| {
            // Otherwise a small WebP would come as a sticker.
            let mut send = self.bot.send_document(chat, file.clone()).disable_content_type_detection(true);
            if let Some(message) = to {
                send = send.reply_parameters(reply(message));
            }
            if !caption.is_empty() {
                send = send.caption(caption);
            }
            send.send()
        })
        .await
    }

    /// Sends 2 to 10 photos or documents as one album.
    pub async fn album(&self, media: Vec<InputMedia>, to: MessageId) -> Result<Vec<Message>, Trouble> {
        let sent = self.migrating("sendMediaGroup", Some(to), |chat, to| {
            let mut send = self.bot.send_media_group(chat, media.clone());
            if let Some(message) = to {
                send = send.reply_parameters(reply(message));
            }
            send.send()
        });
        Ok(sent.await?.unwrap_or_default())
    }

    /// Replaces the text of a message. In a group that has become a supergroup, where that message is not, it comes as a new one.
    pub async fn edit_text(
        &self,
        message: MessageId,
        text: &str,
        buttons: Option<&InlineKeyboardMarkup>,
    ) -> Result<(), Trouble> {
        let text = shortened(text, MAX_TEXT);
        let edited = call("editMessageText", || {
            let mut edit = self.bot.edit_message_text(self.id, message, text);
            if let Some(buttons) = buttons {
                edit = edit.reply_markup(buttons.clone());
            }
            edit.send()
        });
        match edited.await {
            Err(trouble) if trouble.moved().is_some() => self.text(text, None, buttons).await.map(drop),
            edited => edited.map(drop),
        }
    }

    /// Replaces a message by a photo. Saying it twice does no harm, but in a group that has become a supergroup: there it comes as
    /// a new one.
    pub async fn edit_photo(&self, message: MessageId, photo: Bytes, caption: &str) -> Result<(), Trouble> {
        let caption = shortened(caption, MAX_CAPTION);
        let file = || InputFile::memory(photo.clone()).file_name("found.jpg");
        let edited = call("editMessageMedia", || {
            let media = InputMedia::Photo(InputMediaPhoto::new(file()).caption(caption));
            self.bot.edit_message_media(self.id, message, media).send()
        });
        match edited.await {
            Err(trouble) if trouble.moved().is_some() => self.photo(file(), caption, None).await.map(drop),
            edited => edited.map(drop),
        }
    }

    /// Shows that the bot is at work, until the returned value is dropped.
    pub fn busy(&self, action: ChatAction) -> Busy {
        let (bot, id) = (self.bot.clone(), self.id);
        Busy(tokio::spawn(async move {
            // Telegram shows it for five seconds. Nobody misses it where it fails.
            loop {
                let _ = bot.send_chat_action(id, action).await;
                tokio::time::sleep(Duration::from_millis(4500)).await;
            }
        }))
    }

    /// A call that is made again for the new id, where the group has become a supergroup. Messages are numbered anew there, so
    /// it is in reply to none.
    async fn migrating<T, F>(
        &self,
        name: &'static str,
        to: Option<MessageId>,
        once: impl Fn(ChatId, Option<MessageId>) -> F,
    ) -> Result<Option<T>, Trouble>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let sent = call(name, || once(self.id, to)).await;
        match sent.as_ref().err().and_then(Trouble::moved) {
            Some(new) => call(name, || once(new, None)).await,
            None => sent,
        }
    }
}

/// Shows that the bot is at work while it lives.
pub struct Busy(tokio::task::JoinHandle<()>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Fetches a file.
pub async fn fetch(bot: &Bot, source: &Source) -> Result<Result<Bytes, NoFile>, Trouble> {
    if u64::from(source.bytes) > MAX_BYTES {
        return Ok(Err(NoFile::TooLarge));
    }
    let file = call("getFile", || bot.get_file(FileId(source.file_id().to_owned())).send()).await;
    let file = match file {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(Err(NoFile::Gone)),
        // What may go better another time is no word about the file.
        Err(trouble @ Trouble::Telegram { source: RequestError::Api(_), .. }) if trouble.remedy() != Remedy::GiveUp => {
            return Err(trouble);
        }
        Err(Trouble::Telegram { source: RequestError::Api(error), .. }) => {
            return Ok(Err(match error {
                ApiError::Unknown(text) if text.contains("too big") => NoFile::TooLarge,
                _ => NoFile::Gone,
            }));
        }
        Err(trouble) => return Err(trouble),
    };
    let mut tried = 0;
    loop {
        tried += 1;
        match download(bot, &file.path).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) if tried < TRIES => {
                metrics::counter!("polybot_telegram_retries_total", "method" => "download").increment(1);
                tracing::debug!("a download broke off: {error}");
            }
            // The address holds the token.
            Err(error) => return Err(Trouble::Download(error.without_url())),
        }
    }
}

async fn download(bot: &Bot, path: &str) -> Result<Result<Bytes, NoFile>, reqwest::Error> {
    let mut stream = bot.download_file_stream(path);
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk.map_err(reqwest::Error::without_url)?);
        if bytes.len() as u64 > MAX_BYTES {
            return Ok(Err(NoFile::TooLarge));
        }
    }
    Ok(Ok(bytes.freeze()))
}

/// The file that a message of ours holds, for `/undo`.
pub fn kept(message: &Message) -> Option<Kept> {
    Source::of_message(message).map(|source| source.kept)
}

fn reply(message: MessageId) -> ReplyParameters {
    ReplyParameters::new(message).allow_sending_without_reply()
}

/// The text, cut where Telegram's limit would be exceeded.
fn shortened(text: &str, most: usize) -> &str {
    let mut units = 0;
    let end = text.char_indices().find(|(_, c)| {
        units += c.len_utf16();
        units > most
    });
    end.map_or(text, |(at, _)| &text[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_limit_of_utf_16() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "abc");
        assert_eq!(shortened("a😀b", 3), "a😀");
        assert_eq!(shortened("a😀b", 2), "a");
    }
}
