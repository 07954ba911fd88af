//! The objects, and what each verb does to them.

use super::Target;
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// One change of one object.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) collection: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

/// Collection, namespace, name.
type Key = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Key, Value>,
    log: Vec<Change>,
    /// The version before which nothing can be watched any more.
    forgotten: u64,
    /// What each manager last applied to an object or its status.
    applied: BTreeMap<(Key, String, bool), Value>,
}

/// An HTTP status and a body.
pub(super) type Answer = (u16, Value);

pub(super) fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason,
        "message": message, "code": code });
    (code, body)
}

impl Store {
    fn key(target: &Target, name: &str) -> Key {
        (target.collection.clone(), target.namespace.clone().unwrap_or_default(), name.to_owned())
    }

    pub(super) fn get(&self, target: &Target) -> Option<&Value> {
        self.objects.get(&Self::key(target, target.name.as_deref()?))
    }

    pub(super) fn list(&self, target: &Target) -> Vec<Value> {
        let within = |key: &Key| key.0 == target.collection && target.namespace.as_ref().is_none_or(|n| *n == key.1);
        let those = self.objects.iter().filter(|(key, object)| within(key) && target.selects(object));
        those.map(|(_, object)| object.clone()).collect()
    }

    /// The changes after a version, unless some of them are forgotten for those who watch.
    pub(super) fn since(&self, version: u64) -> Option<Vec<Change>> {
        (version >= self.forgotten).then(|| self.log.iter().filter(|c| c.version > version).cloned().collect())
    }

    pub(super) fn forget(&mut self) {
        // One more, so that even who has seen everything has to list again.
        self.version += 1;
        self.forgotten = self.version;
    }

    /// Every change so far.
    pub(super) fn log(&self) -> &[Change] {
        &self.log
    }

    pub(super) fn act(
        &mut self,
        method: &Method,
        target: &Target,
        content_type: &str,
        by: &str,
        mut body: Value,
    ) -> (Answer, Option<Change>) {
        let Some(name) = target.name.clone() else {
            return match *method {
                Method::GET => {
                    let version = self.version.to_string();
                    let items = self.list(target);
                    let list = json!({ "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items });
                    ((200, list), None)
                }
                Method::POST => self.create(target, body),
                _ => (failure(405, "MethodNotAllowed", "collections are listed and added to"), None),
            };
        };
        let key = Self::key(target, &name);
        let applies = content_type.contains("apply-patch");
        let Some(old) = self.objects.get(&key).cloned() else {
            if *method == Method::PATCH && applies && target.sub.is_none() {
                self.applied.insert((key, by.to_owned(), false), body.clone());
                return self.create(target, body);
            }
            return (failure(404, "NotFound", &format!("{name} not found")), None);
        };
        let status = target.sub.as_deref() == Some("status");
        let new = match *method {
            Method::GET => return ((200, old), None),
            Method::DELETE => return self.remove(&key, old),
            Method::PUT => body,
            Method::PATCH if content_type.contains("json-patch") => match json_patched(&old, &mut body) {
                Ok(new) => new,
                Err(answer) => return (answer, None),
            },
            Method::PATCH if applies => {
                let mut new = old.clone();
                let before = self.applied.insert((key.clone(), by.to_owned(), status), body.clone());
                // What this manager applied before and does not any more goes.
                remove_absent(&mut new, &before.unwrap_or_default(), &body);
                merge(&mut new, &body);
                new
            }
            Method::PATCH => {
                let mut new = old.clone();
                merge(&mut new, &body);
                new
            }
            _ => return (failure(405, "MethodNotAllowed", method.as_str()), None),
        };
        let seen = &new["metadata"]["resourceVersion"];
        if seen.is_string() && *seen != old["metadata"]["resourceVersion"] {
            return (failure(409, "Conflict", &format!("{name} was changed meanwhile; look again")), None);
        }
        self.replace(&key, &old, &new, status)
    }

    fn create(&mut self, target: &Target, mut object: Value) -> (Answer, Option<Change>) {
        if let Some(namespace) = &target.namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let generated = format!("{}{}", object["metadata"]["generateName"].as_str().unwrap_or("x-"), self.version + 1);
        let name = object["metadata"]["name"].as_str().unwrap_or(&generated).to_owned();
        object["metadata"]["name"] = json!(name);
        let key = Self::key(target, &name);
        if self.objects.contains_key(&key) {
            return (failure(409, "AlreadyExists", &format!("{name} is there already")), None);
        }
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{:012x}", self.version + 1));
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["creationTimestamp"] = json!(now());
        let (object, change) = self.put(&key, "ADDED", object);
        ((201, object), Some(change))
    }

    fn remove(&mut self, key: &Key, mut object: Value) -> (Answer, Option<Change>) {
        if object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            let (object, change) = self.put(key, "DELETED", object);
            return ((200, object), Some(change));
        }
        if object["metadata"]["deletionTimestamp"].is_string() {
            return ((200, object), None);
        }
        object["metadata"]["deletionTimestamp"] = json!(now());
        object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        let (object, change) = self.put(key, "MODIFIED", object);
        ((200, object), Some(change))
    }

    /// Keeps apart what the status subresource may change and what the object itself may.
    fn replace(&mut self, key: &Key, old: &Value, new: &Value, status: bool) -> (Answer, Option<Change>) {
        let mut out = if status { old.clone() } else { new.clone() };
        let kept = if status { new } else { old };
        match kept.get("status") {
            Some(status) => out["status"] = status.clone(),
            None => drop(out.as_object_mut().and_then(|o| o.remove("status"))),
        }
        for field in ["uid", "creationTimestamp", "generation", "deletionTimestamp", "resourceVersion"] {
            if let Some(value) = old["metadata"].get(field) {
                out["metadata"][field] = value.clone();
            }
        }
        if out == *old {
            return ((200, out), None);
        }
        if out["spec"] != old["spec"] {
            out["metadata"]["generation"] = json!(old["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
        }
        let gone = out["metadata"]["deletionTimestamp"].is_string()
            && out["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        let (object, change) = self.put(key, if gone { "DELETED" } else { "MODIFIED" }, out);
        ((200, object), Some(change))
    }

    fn put(&mut self, key: &Key, kind: &'static str, mut object: Value) -> (Value, Change) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if kind == "DELETED" {
            self.objects.remove(key);
            self.applied.retain(|(of, ..), _| of != key);
        } else {
            self.objects.insert(key.clone(), object.clone());
        }
        let change = Change { version: self.version, collection: key.0.clone(), kind, object: object.clone() };
        self.log.push(change.clone());
        (object, change)
    }
}

fn now() -> String {
    let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    now.format(&Rfc3339).unwrap_or_default()
}

/// As RFC 6902 has it, but for one thing: a real server lets a test for null pass where the path is absent.
fn json_patched(old: &Value, patch: &mut Value) -> Result<Value, Answer> {
    if let Some(steps) = patch.as_array_mut() {
        steps.retain(|step| {
            let absent = old.pointer(step["path"].as_str().unwrap_or_default()).is_none_or(Value::is_null);
            !(step["op"] == "test" && step["value"].is_null() && absent)
        });
    }
    let patch: json_patch::Patch =
        serde_json::from_value(patch.take()).map_err(|e| failure(400, "BadRequest", &e.to_string()))?;
    let mut new = old.clone();
    json_patch::patch(&mut new, &patch).map_err(|e| failure(422, "Invalid", &e.to_string()))?;
    Ok(new)
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// Removes from `of` what `before` has and `after` has not.
fn remove_absent(of: &mut Value, before: &Value, after: &Value) {
    let (Some(of), Some(before)) = (of.as_object_mut(), before.as_object()) else { return };
    for (key, value) in before {
        match after.get(key) {
            None => drop(of.remove(key)),
            Some(after) => {
                if let Some(inner) = of.get_mut(key) {
                    remove_absent(inner, value, after);
                }
            }
        }
    }
}
