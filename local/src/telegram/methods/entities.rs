//! Text with a `parse_mode` becomes plain text and entities. HTML is known; Markdown is refused by name.

use serde_json::{Map, Value, json};

use crate::telegram::error::ApiError;
use crate::telegram::message::Text;
use crate::telegram::state::user_text;

/// Longest text of a message, in UTF-16 code units after parsing.
const TEXT_LIMIT: usize = 4096;
/// Longest caption.
const CAPTION_LIMIT: usize = 1024;

/// The text of a message: it must not be empty.
pub(super) fn text(text: &str, parse_mode: Option<&str>, entities: Option<Vec<Value>>) -> Result<Text, ApiError> {
    let text = styled(text, parse_mode, entities)?;
    match text.text.encode_utf16().count() {
        0 => Err(ApiError::bad("message text is empty")),
        length if length > TEXT_LIMIT => Err(ApiError::bad("message is too long")),
        _ => Ok(text),
    }
}

/// A caption; it may be empty.
pub(super) fn caption(text: &str, parse_mode: Option<&str>, entities: Option<Vec<Value>>) -> Result<Text, ApiError> {
    let text = styled(text, parse_mode, entities)?;
    if text.text.encode_utf16().count() > CAPTION_LIMIT {
        return Err(ApiError::bad("message caption is too long"));
    }
    Ok(text)
}

fn styled(text: &str, parse_mode: Option<&str>, entities: Option<Vec<Value>>) -> Result<Text, ApiError> {
    match parse_mode.map(str::to_lowercase).as_deref() {
        None | Some("") => match entities.filter(|entities| !entities.is_empty()) {
            Some(entities) => Ok(Text { text: text.to_owned(), entities }),
            None => Ok(user_text(text.trim())),
        },
        Some("html") => html(text),
        Some(other) => {
            Err(ApiError::bad(format_args!("unsupported parse_mode ({other} is not known to this stand-in)")))
        }
    }
}

/// A tag that is still open.
struct Open {
    name: String,
    entity: Map<String, Value>,
    start: usize,
}

fn html(source: &str) -> Result<Text, ApiError> {
    let broken = |reason: String| ApiError::bad(format_args!("can't parse entities: {reason}"));
    let source = source.trim();
    let (mut text, mut entities, mut open) = (String::new(), Vec::new(), Vec::<Open>::new());
    let mut offset = 0;
    while offset < source.len() {
        let rest = &source[offset..];
        if let Some(tag) = rest.strip_prefix('<') {
            let end = tag.find('>').ok_or_else(|| broken(format!("Unclosed start tag at byte offset {offset}")))?;
            let tag = &tag[..end];
            if let Some(name) = tag.strip_prefix('/') {
                let unmatched = || broken(format!("Unexpected end tag at byte offset {offset}"));
                let last = open.pop().ok_or_else(unmatched)?;
                if !name.trim().is_empty() && last.name != name.trim().to_lowercase() {
                    let wanted = last.name;
                    let reason = format!(
                        "Unmatched end tag at byte offset {offset}, expected \"</{wanted}>\", found \"</{name}>\""
                    );
                    return Err(broken(reason));
                }
                entities.extend(closed(last, &text));
            } else {
                let name = tag.split_whitespace().next().unwrap_or_default().to_lowercase();
                let entity = entity_of(&name, tag)
                    .ok_or_else(|| broken(format!("Unsupported start tag \"{name}\" at byte offset {offset}")))?;
                open.push(Open { name, entity, start: text.encode_utf16().count() });
            }
            offset += end + 2;
        } else if let Some((character, length)) = character_reference(rest) {
            text.push(character);
            offset += length;
        } else {
            let length = rest.chars().next().map_or(1, char::len_utf8);
            text.push_str(&rest[..length]);
            offset += length;
        }
    }
    if let Some(last) = open.pop() {
        return Err(broken(format!("Can't find end tag corresponding to start tag \"{}\"", last.name)));
    }
    entities.extend(user_text(&text).entities);
    entities.sort_by_key(|entity| entity["offset"].as_u64());
    Ok(Text { text, entities })
}

fn entity_of(name: &str, tag: &str) -> Option<Map<String, Value>> {
    let kind = match name {
        "b" | "strong" => "bold",
        "i" | "em" => "italic",
        "u" | "ins" => "underline",
        "s" | "strike" | "del" => "strikethrough",
        "tg-spoiler" | "span" => "spoiler",
        "code" => "code",
        "pre" => "pre",
        "blockquote" => "blockquote",
        "a" => "text_link",
        _ => return None,
    };
    let mut entity = Map::new();
    entity.insert("type".to_owned(), kind.into());
    if kind == "text_link" {
        let url = tag.split_once("href=")?.1.trim_matches(|quote| quote == '"' || quote == '\'');
        entity.insert("url".to_owned(), url.into());
    }
    Some(entity)
}

/// The entity of a tag that ends here; an empty one is none.
fn closed(open: Open, text: &str) -> Option<Value> {
    let length = text.encode_utf16().count() - open.start;
    let mut entity = open.entity;
    entity.insert("offset".to_owned(), json!(open.start));
    entity.insert("length".to_owned(), json!(length));
    (length > 0).then_some(Value::Object(entity))
}

/// A character written as `&lt;` or `&#60;`, and how many bytes that took.
fn character_reference(rest: &str) -> Option<(char, usize)> {
    let body = rest.strip_prefix('&')?;
    let end = body.find(';').filter(|end| *end <= 8)?;
    let name = &body[..end];
    let character = match name {
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        "quot" => '"',
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((character, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_text_and_entities() {
        let text = text("\u{1f436} <b>2 &lt; <i>3</i></b> <a href=\"https://a.b/\">x</a>", Some("HTML"), None).unwrap();
        assert_eq!(text.text, "\u{1f436} 2 < 3 x");
        let expected = json!([
            { "type": "bold", "offset": 3, "length": 5 },
            { "type": "italic", "offset": 7, "length": 1 },
            { "type": "text_link", "url": "https://a.b/", "offset": 9, "length": 1 },
        ]);
        assert_eq!(json!(text.entities), expected);
    }

    #[test]
    fn faulty_html_is_refused_in_telegrams_words() {
        let refused = |source: &str| text(source, Some("HTML"), None).unwrap_err().description;
        let prefix = "Bad Request: can't parse entities: ";
        assert_eq!(refused("<b>x"), format!("{prefix}Can't find end tag corresponding to start tag \"b\""));
        assert_eq!(refused("a <x>"), format!("{prefix}Unsupported start tag \"x\" at byte offset 2"));
        assert!(refused("<b>x</i>").starts_with(&format!("{prefix}Unmatched end tag at byte offset 4")));
        assert!(refused("x</i>").starts_with(&format!("{prefix}Unexpected end tag at byte offset 1")));
    }

    #[test]
    fn lengths_count_utf16_after_parsing() {
        assert!(text(&format!("<b>{}</b>", "x".repeat(4096)), Some("HTML"), None).is_ok());
        assert!(text(&"\u{1f436}".repeat(2049), None, None).is_err());
        assert!(text(" \n", None, None).is_err());
        assert!(caption(&"x".repeat(1024), None, None).is_ok());
        assert!(caption(&"x".repeat(1025), None, None).is_err());
    }
}
