//! What an app marks in a text that a person typed: commands and links.

use serde_json::json;

use super::message::Text;

/// Marks what users' apps mark: commands and links.
pub(super) fn user_text(text: &str) -> Text {
    let mut entities = Vec::new();
    let mut offset = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let marked =
            command(word).map(|length| ("bot_command", length)).or_else(|| link(word).map(|length| ("url", length)));
        if let Some((kind, length)) = marked {
            entities.push(json!({ "type": kind, "offset": offset, "length": length }));
        }
        offset += word.encode_utf16().count();
    }
    Text { text: text.to_owned(), entities }
}

/// Length of a command such as `/help` or `/help@some_bot` at the start of a word.
fn command(word: &str) -> Option<usize> {
    let name = word.strip_prefix('/')?;
    let end = name.find(|char: char| !(char.is_ascii_alphanumeric() || "_@".contains(char))).unwrap_or(name.len());
    // A path such as /usr/bin is no command.
    (end > 0 && !name[end..].starts_with('/')).then_some(end + 1)
}

/// Length of a link that a word is, without the full stop behind it.
fn link(word: &str) -> Option<usize> {
    let rest = word.strip_prefix("https://").or_else(|| word.strip_prefix("http://"))?;
    (!rest.trim().is_empty()).then(|| {
        word.trim_end_matches(|char: char| char.is_whitespace() || ".,;:!?)".contains(char)).encode_utf16().count()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn commands_and_links_are_marked_without_the_punctuation_behind_them() {
        let marked = |text: &str| -> Vec<(String, u64, u64)> {
            let entities = user_text(text).entities;
            let number = |entity: &Value, name: &str| entity[name].as_u64().unwrap();
            let one = |entity: &Value| {
                (entity["type"].as_str().unwrap().to_owned(), number(entity, "offset"), number(entity, "length"))
            };
            entities.iter().map(one).collect()
        };
        assert_eq!(marked("\u{1f436} /help. x"), [("bot_command".to_owned(), 3, 5)]);
        assert_eq!(marked("see https://a.b/c, please"), [("url".to_owned(), 4, 13)]);
        assert_eq!(marked("in /usr/bin or a/b / or https://"), []);
    }
}
