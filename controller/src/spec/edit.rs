//! Edits of a spec's text that leave all else as it stands: comments, order, spaces.

use super::{
    load::{Document, File, LoadError, parse, render},
    tree::{Tree, locate},
};
use serde_saphyr::Spanned;

/// Puts another tag (or digest) of a service's image into a file's text, in the stacks that `wanted` picks by name. Returns
/// the new text and which images were there before.
///
/// # Errors
/// Where the text is no valid spec, no stack is picked, or the image is given in another way than by tag or digest.
pub fn set_image(
    name: &str,
    text: &str,
    service: &str,
    image: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<(String, Vec<String>), LoadError> {
    let file = File { name: name.to_owned(), text: text.to_owned() };
    let faults = |found: Vec<super::tree::Fault>| LoadError(found.iter().map(|f| render(&file, f)).collect());
    let documents = parse(0, &file, &super::json_schema()).map_err(faults)?;
    let field = if image.starts_with("sha256:") { "digest" } else { "tag" };
    let path = format!("spec.{service}.image.{field}");
    let mut places = vec![];
    for Document { tree, stack, .. } in &documents {
        let title = stack.metadata.name.clone().unwrap_or_default();
        if !wanted(&title) {
            continue;
        }
        let Some(old) = at(tree, &path) else {
            return Err(LoadError(format!(
                "error: {name}: stack {title} in {} has no {path} to change; write the image by hand once, for example \
                 image: {{ {field}: {image} }}\n",
                stack.spec.region
            )));
        };
        let offset = offset(text, locate(tree, &path));
        // The text of a scalar begins with a quote, or with itself.
        let quote = usize::from(text[offset..].starts_with(['"', '\'']));
        if !text[offset + quote..].starts_with(&old) {
            return Err(LoadError(format!(
                "error: {name}: {path} is written in a way that cannot be edited; change it by hand\n"
            )));
        }
        places.push((offset + quote, old));
    }
    if places.is_empty() {
        return Err(LoadError(format!("error: {name} holds no stack of that name\n")));
    }
    let mut edited = text.to_owned();
    places.sort_by_key(|(offset, _)| std::cmp::Reverse(*offset));
    for (offset, old) in &places {
        edited.replace_range(*offset..offset + old.len(), image);
    }
    // What came out says what was asked for, or nothing is done.
    let again = File { name: name.to_owned(), text: edited.clone() };
    let parsed = parse(0, &again, &super::json_schema()).map_err(faults)?;
    let told = parsed.iter().filter(|d| at(&d.tree, &path).as_deref() == Some(image)).count();
    if told < places.len() {
        return Err(LoadError(format!(
            "error: {name}: {image:?} cannot be written there as it is; change it by hand\n"
        )));
    }
    Ok((edited, places.into_iter().rev().map(|(_, old)| old).collect()))
}

/// The text at a path.
fn at(root: &Spanned<Tree>, path: &str) -> Option<String> {
    let mut node = &root.value;
    for part in path.split('.') {
        let Tree::Map(entries) = node else { return None };
        node = &entries.iter().find(|(k, _)| k.value == part)?.1.value;
    }
    match node {
        Tree::Scalar(serde_json::Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}

/// Bytes before a line and a column, both from 1, the column in characters.
fn offset(text: &str, (line, column): (u64, u64)) -> usize {
    let to = |n: u64| usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
    let start: usize = text.split_inclusive('\n').take(to(line)).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(to(column)).map_or(rest.len(), |(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both stacks of production, as one file may have them.
    fn prod() -> String {
        ["prod", "prod-ohio"]
            .map(|name| std::fs::read_to_string(format!("../specs/{name}.yaml")).unwrap())
            .join("---\n")
    }

    #[test]
    fn only_the_tag_changes_and_comments_stay() {
        let text = prod().replace("  yolo5:\n", "  yolo5: # the detector, für alle\n");
        let (edited, before) = set_image("prod.yaml", &text, "yolo5", "v1.5.0", |_| true).unwrap();
        assert_eq!(before, ["v1.0.0", "v1.0.0"]);
        let changed: Vec<_> = text.lines().zip(edited.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(changed, [("    image: { tag: v1.0.0 }", "    image: { tag: v1.5.0 }"); 2]);
        assert_eq!(text.lines().count(), edited.lines().count());
    }

    #[test]
    fn quotes_and_digests_stay_what_they_are() {
        let (old, new) = (format!("sha256:{}", "0".repeat(64)), format!("sha256:{}", "a".repeat(64)));
        let text = prod()
            .replace("polybot:\n    image: { tag: v1.0.0 }", &format!("polybot:\n    image: {{ digest: \"{old}\" }}"));
        let (edited, before) = set_image("prod.yaml", &text, "polybot", &new, |_| true).unwrap();
        assert_eq!((before, edited), (vec![old.clone(); 2], text.replace(&old, &new)));
    }

    #[test]
    fn what_cannot_be_done_is_said_and_nothing_is_changed() {
        let why = |service: &str, image: &str, stack: &str| {
            set_image("prod.yaml", &prod(), service, image, |name| name == stack).unwrap_err().0
        };
        assert!(why("yolo5", "v1", "other").contains("no stack of that name"));
        let digest = format!("sha256:{}", "a".repeat(64));
        assert!(why("yolo5", &digest, "prod").contains("has no spec.yolo5.image.digest to change"));
        assert!(why("yolo5", "v1 }, x: {", "prod").contains("prod.yaml"));
    }
}
