//! A YAML document as a tree that remembers where each node stands, and a walk of it along the JSON schema that finds every
//! fault at once, where a deserializer would stop at the first.

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use serde_saphyr::Spanned;
use std::fmt;

/// A node of a document.
#[derive(Debug)]
pub enum Tree {
    /// `null`, booleans, numbers and texts.
    Scalar(Value),
    /// A list.
    List(Vec<Spanned<Tree>>),
    /// A map, with repeated keys.
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Tree, D::Error> {
        Tree::deserialize(d)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = vec![];
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = vec![];
        while let Some(key) = map.next_key()? {
            entries.push((key, map.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}

/// Something wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: the path of the field.
    pub path: String,
    /// What.
    pub message: String,
    /// How to mend it.
    pub hint: String,
    /// Line and column, from 1; 0 where unknown.
    pub at: (u64, u64),
}

impl Tree {
    /// The tree without its places.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Scalar(v) => v.clone(),
            Self::List(items) => items.iter().map(|i| i.value.to_json()).collect(),
            Self::Map(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.value.clone(), v.value.to_json())).collect())
            }
        }
    }
}

/// Where the field of a path stands, or the nearest of its parents that is there.
pub fn locate(root: &Spanned<Tree>, path: &str) -> (u64, u64) {
    let mut node = root;
    let mut at = place(root);
    for part in path.split(['.', '[', ']']).filter(|p| !p.is_empty()) {
        let next = match &node.value {
            Tree::Map(entries) => entries.iter().find(|(k, _)| k.value == part).map(|(_, v)| v),
            Tree::List(items) => part.parse::<usize>().ok().and_then(|i| items.get(i)),
            Tree::Scalar(_) => None,
        };
        let Some(next) = next else { break };
        node = next;
        at = place(next);
    }
    at
}

fn place<T>(node: &Spanned<T>) -> (u64, u64) {
    (node.referenced.line(), node.referenced.column())
}

/// Every fault of a document against the schema.
pub fn walk(root: &Spanned<Tree>, schema: &Value) -> Vec<Fault> {
    let mut faults = vec![];
    visit(root, schema, "", &mut faults);
    faults
}

fn visit(node: &Spanned<Tree>, schema: &Value, path: &str, faults: &mut Vec<Fault>) {
    let mut fault = |message: String, hint: String, at| faults.push(Fault { path: path.to_owned(), message, hint, at });
    // An optional field's schema is `anyOf [the type, null]`.
    let schema = schema["anyOf"].as_array().and_then(|any| any.iter().find(|s| s["type"] != "null")).unwrap_or(schema);
    let about = schema["description"].as_str().unwrap_or_default();
    let expects = |kind: &str| match &schema["type"] {
        Value::String(s) => s == kind,
        Value::Array(all) => all.iter().any(|s| s == kind),
        _ => false,
    };
    let typed = !schema["type"].is_null();
    match &node.value {
        Tree::Map(entries) => {
            if typed && !expects("object") {
                return fault(format!("a map, but {} is expected", kind_of(schema)), about.to_owned(), place(node));
            }
            let properties = schema["properties"].as_object();
            let mut seen: Vec<&str> = vec![];
            for (key, value) in entries {
                let child = if path.is_empty() { key.value.clone() } else { format!("{path}.{}", key.value) };
                if seen.contains(&key.value.as_str()) {
                    let message = format!("{} is given twice", key.value);
                    faults.push(Fault { path: child, message, hint: "keep one of the two".to_owned(), at: place(key) });
                    continue;
                }
                seen.push(&key.value);
                match (properties.and_then(|p| p.get(&key.value)), &schema["additionalProperties"]) {
                    (Some(inner), _) => visit(value, inner, &child, faults),
                    (None, Value::Bool(false)) => {
                        let known: Vec<&str> =
                            properties.into_iter().flat_map(|p| p.keys()).map(String::as_str).collect();
                        let hint = match nearest(&key.value, &known) {
                            Some(near) => format!("did you mean {near}?"),
                            None => format!("the fields here are {}", known.join(", ")),
                        };
                        let message = format!("there is no field {}", key.value);
                        faults.push(Fault { path: child, message, hint, at: place(key) });
                    }
                    (None, inner) if inner.is_object() => visit(value, inner, &child, faults),
                    (None, _) => {}
                }
            }
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !seen.contains(&required) {
                    let child = if path.is_empty() { required.to_owned() } else { format!("{path}.{required}") };
                    let hint = schema["properties"][required]["description"].as_str().unwrap_or("add it").to_owned();
                    faults.push(Fault {
                        path: child,
                        message: format!("{required} is missing"),
                        hint,
                        at: place(node),
                    });
                }
            }
        }
        Tree::List(items) => {
            if typed && !expects("array") {
                return fault(format!("a list, but {} is expected", kind_of(schema)), about.to_owned(), place(node));
            }
            for (i, item) in items.iter().enumerate() {
                visit(item, &schema["items"], &format!("{path}[{i}]"), faults);
            }
        }
        Tree::Scalar(value) => {
            let fits = match value {
                Value::Null => !typed || expects("null"),
                Value::Bool(_) => expects("boolean"),
                Value::Number(n) => expects("number") || expects("integer") && (n.is_i64() || n.is_u64()),
                Value::String(_) => expects("string"),
                _ => false,
            };
            if let Some(expected) = schema.get("const") {
                if value != expected {
                    fault(format!("{value}, but {expected} is expected"), about.to_owned(), place(node));
                }
            } else if let Some(all) = schema["oneOf"].as_array().filter(|_| !typed) {
                let words: Vec<String> = all.iter().map(|s| s["const"].to_string()).collect();
                if all.iter().all(|s| s["const"] != *value) {
                    fault(format!("{value} is none of {}", words.join(", ")), about.to_owned(), place(node));
                }
            } else if typed && !fits {
                fault(format!("{value}, but {} is expected", kind_of(schema)), about.to_owned(), place(node));
            } else if let Some(n) = value.as_f64() {
                let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
                if least.is_some_and(|l| n < l) || most.is_some_and(|m| n > m) {
                    let show = |n: Option<f64>, none: &str| n.map_or_else(|| none.to_owned(), |n| n.to_string());
                    let message = format!("{value} is not within {} to {}", show(least, "any"), show(most, "any"));
                    fault(message, about.to_owned(), place(node));
                }
            }
        }
    }
}

fn kind_of(schema: &Value) -> String {
    let name = |s: &str| match s {
        "object" => "a map".to_owned(),
        "array" => "a list".to_owned(),
        "string" => "a text".to_owned(),
        "integer" => "a whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => format!("a {other}"),
    };
    match &schema["type"] {
        Value::String(s) => name(s),
        Value::Array(all) => {
            let all: Vec<_> = all.iter().filter_map(Value::as_str).filter(|s| *s != "null").map(name).collect();
            all.join(" or ")
        }
        _ => "something else".to_owned(),
    }
}

/// The word that takes the fewest edits, if they are few.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|k| (edits(&word.to_lowercase(), &k.to_lowercase()), *k)).min()?;
    (best.0 <= 2.max(word.len() / 3)).then_some(best.1)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
