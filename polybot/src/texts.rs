//! What users see, from one Fluent file a language. Names and numbers are isolated, so that a text of both directions
//! reads right.

use crate::{
    caption::{CaptionError, PREDICT},
    filters::{FILTERS, ResultTooLarge},
    picture::{MAX_PIXELS, MAX_SIDE, read::ReadError},
};
use fluent_bundle::{FluentArgs, FluentResource, FluentValue, concurrent::FluentBundle};
use std::sync::LazyLock;
use teloxide::types::User;

/// A language of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Hebrew.
    Hebrew,
}

/// The arguments of a text.
pub type Arguments<'a> = &'a [(&'a str, FluentValue<'a>)];

/// The commands, in the order of the menu. Their descriptions are the texts `command-…`.
pub const COMMANDS: [&str; 6] = ["start", "help", "settings", "undo", "cancel", "privacy"];

const ENGLISH: &str = include_str!("../i18n/en.ftl");
const HEBREW: &str = include_str!("../i18n/he.ftl");

static BUNDLES: LazyLock<[FluentBundle<FluentResource>; 2]> =
    LazyLock::new(|| [bundle("en", ENGLISH), bundle("he", HEBREW)]);

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Hebrew];

    /// Its code, as Telegram and the settings write it.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Hebrew => "he",
        }
    }

    /// Its own name.
    pub fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Hebrew => "עברית",
        }
    }

    /// The language of a code such as `he-IL`.
    pub fn of_code(code: &str) -> Option<Self> {
        match code.split('-').next()? {
            "en" => Some(Self::English),
            "he" | "iw" => Some(Self::Hebrew),
            _ => None,
        }
    }

    /// The language of a user's Telegram; English where it is another.
    pub fn of_user(user: Option<&User>) -> Self {
        user.and_then(|user| Self::of_code(user.language_code.as_deref()?)).unwrap_or(Self::English)
    }

    /// A text.
    pub fn text(self, key: &str, arguments: Arguments) -> String {
        let bundle = &BUNDLES[self as usize];
        let Some(pattern) = bundle.get_message(key).and_then(|message| message.value()) else {
            tracing::error!(key, "no such text");
            return key.to_owned();
        };
        let arguments: FluentArgs = arguments.iter().map(|(name, value)| (*name, value.clone())).collect();
        bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned()
    }

    /// The text that answers `/help`.
    pub fn help(self) -> String {
        let line = |name: &str, arguments: &str| {
            let filter = format!("{name} {arguments}").trim_end().to_owned();
            let what = self.text(&format!("help-{}", name.replace(' ', "-")), &[]);
            self.text("help-line", &[("filter", filter.into()), ("what", what.into())])
        };
        let mut lines: Vec<_> = FILTERS.iter().map(|entry| line(entry.name, entry.arguments)).collect();
        lines.push(line(PREDICT, "[confidence]"));
        let commands = COMMANDS.map(|command| format!("/{command}")).join(" ");
        let more = self.text("help-more", &[("commands", commands.into())]);
        // Not as an argument: an argument is isolated, and what isolates ends with its line.
        format!("{}\n\n{}\n\n{more}", self.text("help", &[]), lines.join("\n"))
    }

    /// An error as users see it.
    pub fn error(self, what: String) -> String {
        self.text("error", &[("what", what.into())])
    }

    /// What is wrong with a caption.
    pub fn caption_error(self, error: CaptionError) -> String {
        self.error(match error {
            // Nothing is wrong: it is asked what is wanted.
            CaptionError::Empty => return self.text("choose", &[]),
            CaptionError::UnknownWord { word, nearest: None } => {
                self.text("error-caption-unknown", &[("word", word.into())])
            }
            CaptionError::UnknownWord { word, nearest: Some(nearest) } => {
                self.text("error-caption-nearest", &[("word", word.into()), ("nearest", nearest.into())])
            }
            CaptionError::BadArgument { filter, example, what } => {
                let key = match (what.argument, what.given.as_str()) {
                    ("-", _) => "error-caption-no-argument",
                    (_, "") => "error-caption-missing",
                    _ => "error-caption-argument",
                };
                let arguments = [
                    ("filter", filter.into()),
                    ("argument", what.argument.into()),
                    ("given", what.given.into()),
                    ("allowed", what.allowed.into()),
                    ("example", example.into()),
                ];
                self.text(key, &arguments)
            }
            CaptionError::TooManySteps => {
                self.text("error-caption-steps", &[("most", crate::caption::MAX_STEPS.into())])
            }
            CaptionError::PredictNotLast => self.text("error-caption-predict", &[]),
            CaptionError::ConcatTwice => self.text("error-caption-concat", &[]),
        })
    }

    /// Why a picture was not read.
    pub fn read_error(self, error: &ReadError) -> String {
        self.error(match error {
            ReadError::Unknown => self.text("error-picture-unknown", &[]),
            ReadError::Heic => self.text("error-picture-heic", &[]),
            ReadError::Damaged(_) => self.text("error-picture-damaged", &[]),
            ReadError::TooLarge { width, height } => {
                self.text("error-picture-large", &sizes(u64::from(*width), u64::from(*height)))
            }
        })
    }

    /// Why a result was not made.
    pub fn result_error(self, error: ResultTooLarge) -> String {
        self.error(self.text("error-result-large", &sizes(error.width as u64, error.height as u64)))
    }

    /// The name of a class of the detector.
    pub fn class(self, class: &str) -> String {
        let key = format!("class-{}", class.replace(' ', "-"));
        if BUNDLES[self as usize].has_message(&key) { self.text(&key, &[]) } else { class.to_owned() }
    }
}

fn sizes(width: u64, height: u64) -> [(&'static str, FluentValue<'static>); 4] {
    // As text: digits are not to be grouped.
    [
        ("width", width.to_string().into()),
        ("height", height.to_string().into()),
        ("most", (MAX_PIXELS / 1_000_000).to_string().into()),
        ("side", MAX_SIDE.to_string().into()),
    ]
}

fn bundle(code: &str, texts: &str) -> FluentBundle<FluentResource> {
    let language = code.parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![language]);
    // A test holds that the files have no errors.
    let resource = FluentResource::try_new(texts.to_owned()).unwrap_or_else(|(resource, _)| resource);
    bundle.add_resource_overriding(resource);
    bundle
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// The arguments of each text, by its key.
    fn keys(texts: &str) -> BTreeMap<String, BTreeSet<String>> {
        assert!(FluentResource::try_new(texts.to_owned()).is_ok());
        let mut keys = BTreeMap::new();
        let mut last = String::new();
        for line in texts.lines().filter(|line| !line.starts_with('#')) {
            if let Some((key, _)) = line.split_once(" =")
                && !line.starts_with(' ')
            {
                last = key.to_owned();
                assert!(keys.insert(last.clone(), BTreeSet::new()).is_none(), "{key} is there twice");
            }
            for argument in line.split("{ $").skip(1) {
                let name = argument.split([' ', '}']).next().unwrap_or_default();
                keys.get_mut(&last).unwrap().insert(name.to_owned());
            }
        }
        keys
    }

    #[test]
    fn both_languages_have_the_same_keys_and_arguments() {
        let (english, hebrew) = (keys(ENGLISH), keys(HEBREW));
        assert_eq!(english, hebrew);
        assert!(english.len() > 140, "{}", english.len());
    }

    #[test]
    fn every_key_that_the_program_asks_for_is_there() {
        let keys = keys(ENGLISH);
        for entry in FILTERS {
            assert!(keys.contains_key(&format!("help-{}", entry.name.replace(' ', "-"))), "{}", entry.name);
        }
        for command in COMMANDS {
            assert!(keys.contains_key(&format!("command-{command}")), "{command}");
        }
    }

    #[test]
    fn what_users_wrote_is_isolated_from_the_direction_around_it() {
        let text = Language::Hebrew.text("echo", &[("text", "blur (5".into())]);
        assert!(text.contains("\u{2068}blur (5\u{2069}"), "{text:?}");
    }

    #[test]
    fn the_help_fits_into_one_message() {
        for language in Language::ALL {
            assert!(language.help().encode_utf16().count() < 4096);
            // What isolates a name ends in the line where it begins.
            for line in language.help().lines() {
                assert_eq!(line.matches('\u{2068}').count(), line.matches('\u{2069}').count(), "{line:?}");
            }
            assert!(language.help().contains("\u{2068}salt and pepper [0-1]\u{2069} – "));
        }
    }

    #[test]
    fn the_plural_follows_the_number() {
        let text = |count: i32| Language::English.text("cancel-done", &[("count", count.into())]);
        assert_eq!(text(0), "No album is waiting.");
        assert_eq!(text(1), "Called off one album.");
        assert!(text(3).contains('3'));
    }
}
