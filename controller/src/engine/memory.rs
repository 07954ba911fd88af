//! What was applied last, kept in a few tags of the resource that the stack begins with.
//!
//! A digest in a resource's own tag tells drift from pending changes (see [`crate::ownership::INTENT`]). Two questions are
//! left that no tag of a resource can answer: what became of one that is *gone*, and of one whose kind bears no tags. So the
//! first resource of the stack remembers all addresses and what the spec said of them, ten resources in seventy characters.
//! It only explains: no decision of the planner hangs on it, and losing it costs nothing but the explanation.

use super::{Address, Tags};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Key of the tags, followed by a number from 1.
const KEY: &str = "polybot.dev/applied-";
/// Characters of an entry: four for 24 bits of the address's hash, three for 18 bits of what the spec said.
const ENTRY: usize = 7;
const ADDRESS: usize = 4;
/// Entries of a tag: a value may have 256 characters.
const ENTRIES: usize = 36;

/// What was applied last, by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory(BTreeMap<String, String>);

/// What the memory says of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// It was there, and the spec said the same.
    Same,
    /// It was there, and the spec said something else.
    Changed,
    /// It was not there.
    Not,
}

fn hash(text: &str, characters: usize) -> String {
    let mut text = URL_SAFE_NO_PAD.encode(Sha256::digest(text));
    text.truncate(characters);
    text
}

impl Memory {
    /// Out of tags; nothing where none of them is there.
    pub(super) fn read(tags: &Tags) -> Option<Self> {
        let values: Vec<&String> = tags.iter().filter(|(k, _)| k.starts_with(KEY)).map(|(_, v)| v).collect();
        let entries = values.iter().flat_map(|v| v.as_bytes().chunks_exact(ENTRY));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let entries = entries.map(|e| (text(&e[..ADDRESS]), text(&e[ADDRESS..]))).collect();
        (!values.is_empty()).then_some(Self(entries))
    }

    /// As tags. Those that are not needed any more are emptied, since tags are set and not removed.
    pub(super) fn write(&self, have: &Tags) -> Tags {
        let mut tags: Tags = have.keys().filter(|k| k.starts_with(KEY)).map(|k| (k.clone(), String::new())).collect();
        let entries: Vec<String> = self.0.iter().map(|(address, intent)| format!("{address}{intent}")).collect();
        tags.extend(entries.chunks(ENTRIES).enumerate().map(|(n, part)| (format!("{KEY}{}", n + 1), part.concat())));
        tags
    }

    /// Notes that the spec says this of the resource, and that it is so.
    pub(super) fn note(&mut self, address: &Address, intent: &str) {
        self.0.insert(hash(&address.to_string(), ADDRESS), hash(intent, ENTRY - ADDRESS));
    }

    /// Takes over what another memory says of the resource.
    pub(super) fn carry(&mut self, from: &Self, address: &Address) {
        let key = hash(&address.to_string(), ADDRESS);
        self.0.extend(from.0.get(&key).map(|intent| (key, intent.clone())));
    }

    /// What it says of a resource.
    pub(super) fn of(&self, address: &Address, intent: &str) -> Remembered {
        match self.0.get(&hash(&address.to_string(), ADDRESS)) {
            Some(known) if *known == hash(intent, ENTRY - ADDRESS) => Remembered::Same,
            Some(_) => Remembered::Changed,
            None => Remembered::Not,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_tags_and_tells_the_same_from_the_changed() {
        let address = |n: usize| Address::new("queue", n.to_string());
        let mut memory = Memory::default();
        for n in 0..100 {
            memory.note(&address(n), &format!("intent {n}"));
        }
        let tags = memory.write(&Tags::new());
        assert_eq!(tags.len(), 3);
        assert!(tags.values().all(|v| v.len() <= 256));
        assert_eq!(Memory::read(&tags), Some(memory.clone()));
        assert_eq!(memory.of(&address(7), "intent 7"), Remembered::Same);
        assert_eq!(memory.of(&address(7), "another"), Remembered::Changed);
        assert_eq!(memory.of(&address(100), "intent 100"), Remembered::Not);

        // A smaller one leaves no remains in the tags of the larger.
        let mut smaller = Memory::default();
        smaller.carry(&memory, &address(3));
        smaller.carry(&memory, &address(1000));
        let mut all = tags.clone();
        all.extend(smaller.write(&tags));
        assert_eq!(Memory::read(&all), Some(smaller));
        assert_eq!(Memory::read(&Tags::new()), None);
    }
}
