//! Reads what a user wrote under a photo: a chain of filters such as `blur 5, rotate 90`, perhaps with `predict` at its end.

use crate::filters::{BadArgument, Entry, FILTERS, Filter, concat::Side};

/// The word that asks for detection.
pub const PREDICT: &str = "predict";
/// Most steps of a chain.
pub const MAX_STEPS: usize = 8;
/// Longest word or argument that an error repeats.
const MAX_REPEATED: usize = 32;

/// What a caption asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Filters for each photo.
    pub each: Vec<Filter>,
    /// How the photos are put together, and the filters for the one picture after that.
    pub joined: Option<(Side, Vec<Filter>)>,
    /// Whether objects are to be found in the result, and from which confidence on.
    pub predict: Option<Predict>,
}

/// A wish for detection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Predict {
    /// Least confidence, where the user gave one.
    pub confidence: Option<f32>,
}

/// Why a caption cannot be followed. The words for it are in the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptionError {
    /// Nothing was written.
    Empty,
    /// No filter is called that.
    UnknownWord {
        /// What was written.
        word: String,
        /// The filter that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A filter's argument is wrong.
    BadArgument {
        /// The filter.
        filter: &'static str,
        /// One way to write it.
        example: &'static str,
        /// What is wrong.
        what: BadArgument,
    },
    /// More steps than [`MAX_STEPS`].
    TooManySteps,
    /// `predict` is not at the end, or there twice.
    PredictNotLast,
    /// `concat` is there twice.
    ConcatTwice,
}

/// Reads a caption.
pub fn parse(caption: &str) -> Result<Request, CaptionError> {
    let lower = caption.to_lowercase();
    let steps: Vec<&str> = lower.split([',', ';', '\n', '+']).map(str::trim).filter(|s| !s.is_empty()).collect();
    if steps.is_empty() {
        return Err(CaptionError::Empty);
    }
    if steps.len() > MAX_STEPS {
        return Err(CaptionError::TooManySteps);
    }
    let mut request = Request { each: Vec::new(), joined: None, predict: None };
    for step in steps {
        if request.predict.is_some() {
            return Err(CaptionError::PredictNotLast);
        }
        let words: Vec<&str> = step.split_whitespace().collect();
        if let [PREDICT, arguments @ ..] = words.as_slice() {
            request.predict = Some(parse_predict(arguments)?);
            continue;
        }
        match (parse_filter(&words)?, &mut request.joined) {
            (Filter::Concat(_), Some(_)) => return Err(CaptionError::ConcatTwice),
            (Filter::Concat(side), joined) => *joined = Some((side, Vec::new())),
            (filter, Some((_, after))) => after.push(filter),
            (filter, None) => request.each.push(filter),
        }
    }
    Ok(request)
}

fn parse_predict(arguments: &[&str]) -> Result<Predict, CaptionError> {
    let confidence = match arguments {
        [] => Some(None),
        [one] => one.parse().ok().filter(|c| (0.01..=1.0).contains(c)).map(Some),
        _ => None,
    };
    let confidence = confidence.ok_or_else(|| CaptionError::BadArgument {
        filter: PREDICT,
        example: "predict 0.5",
        what: BadArgument {
            argument: "confidence", given: shortened(&arguments.join(" ")), allowed: "0.01–1".into()
        },
    })?;
    Ok(Predict { confidence })
}

fn parse_filter(words: &[&str]) -> Result<Filter, CaptionError> {
    let Some((entry, arguments)) = FILTERS.iter().find_map(|entry| Some((entry, arguments_of(entry, words)?))) else {
        let word = words.first().copied().unwrap_or_default();
        return Err(CaptionError::UnknownWord { word: shortened(word), nearest: nearest(&words.join(" ")) });
    };
    (entry.parse)(arguments).map_err(|what| CaptionError::BadArgument {
        filter: entry.name,
        example: entry.example,
        what: BadArgument { given: shortened(&what.given), ..what },
    })
}

/// The words after the filter's name, where they begin with it.
fn arguments_of<'a, 'b>(entry: &Entry, words: &'a [&'b str]) -> Option<&'a [&'b str]> {
    std::iter::once(&entry.name).chain(entry.aliases).find_map(|name| {
        let mut rest = words;
        for part in name.split(' ') {
            let (first, others) = rest.split_first()?;
            rest = (*first == part).then_some(others)?;
        }
        Some(rest)
    })
}

/// The filter whose name is nearest to the beginning of what was written, if one is near.
fn nearest(written: &str) -> Option<&'static str> {
    let names = FILTERS.iter().map(|entry| entry.name).chain([PREDICT]);
    let candidates = names.map(|name| {
        let words = name.split(' ').count();
        let start = written.split(' ').take(words).collect::<Vec<_>>().join(" ");
        (distance(name, &shortened(&start)), name)
    });
    let (distance, name) = candidates.min()?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

/// How many letters have to be changed, added, removed or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: usize = before_last[j - 2];
                least = least.min(swapped + 1);
            }
            row.push(least);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_REPEATED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filters::{mirror::Axis, rotate::Turn};

    fn each(caption: &str) -> Vec<Filter> {
        let request = parse(caption).unwrap();
        assert_eq!((request.joined, request.predict), (None, None));
        request.each
    }

    #[test]
    fn every_example_of_the_list_can_be_written_in_any_case() {
        for entry in FILTERS {
            for name in std::iter::once(&entry.name).chain(entry.aliases) {
                let example = entry.example.replace(entry.name, name);
                assert!(parse(&example).is_ok(), "{example}");
                assert_eq!(parse(&example), parse(&format!("  {} ", example.to_uppercase())));
            }
        }
    }

    #[test]
    fn arguments_have_defaults() {
        assert_eq!(each("blur"), [Filter::Blur { size: 16 }]);
        assert_eq!(each("blur 10"), [Filter::Blur { size: 10 }]);
        assert_eq!(each("salt and pepper 0.25"), [Filter::SaltAndPepper { share: 0.25 }]);
        assert_eq!(each("mirror"), [Filter::Mirror(Axis::Horizontal)]);
        assert_eq!(each("resize 50 %"), [Filter::Resize { percent: 50 }]);
    }

    #[test]
    fn rotate_goes_both_ways() {
        for (caption, turn) in [
            ("rotate", Turn::Quarter),
            ("rotate clockwise", Turn::Quarter),
            ("rotate clockwise 90", Turn::Quarter),
            ("rotate anti-clockwise 270", Turn::Quarter),
            ("rotate 180", Turn::Half),
            ("rotate anti clockwise 180", Turn::Half),
            ("rotate anticlockwise", Turn::ThreeQuarters),
            ("rotate 270", Turn::ThreeQuarters),
        ] {
            assert_eq!(each(caption), [Filter::Rotate(turn)], "{caption}");
        }
    }

    #[test]
    fn chains_keep_their_order_around_concat_and_end_with_predict() {
        let request = parse("gray, concat vertical above; rotate 90\npredict 0.5").unwrap();
        assert_eq!(request.each, [Filter::Gray]);
        assert_eq!(request.joined, Some((Side::Above, vec![Filter::Rotate(Turn::Quarter)])));
        assert_eq!(request.predict, Some(Predict { confidence: Some(0.5) }));
        assert_eq!(parse("predict, gray"), Err(CaptionError::PredictNotLast));
        assert_eq!(parse("concat, concat"), Err(CaptionError::ConcatTwice));
        assert_eq!(parse(&"gray,".repeat(9)), Err(CaptionError::TooManySteps));
        assert_eq!(parse(" , "), Err(CaptionError::Empty));
    }

    #[test]
    fn errors_name_the_argument_what_was_given_and_what_is_allowed() {
        for (caption, argument, given, allowed) in [
            ("blur 0", "N", "0", "1–1000"),
            ("blur 2.5", "N", "2.5", "1–1000"),
            ("blur -3", "N", "-3", "1–1000"),
            ("blur 3 4", "N", "3 4", "1–1000"),
            ("rotate 45", "degrees", "45", "90, 180, 270"),
            ("salt and pepper 2", "p", "2", "0–1"),
            ("salt and pepper nan", "p", "nan", "0–1"),
            ("resize", "N%", "", "1%–1000%"),
            ("predict 7", "confidence", "7", "0.01–1"),
            ("gray 3", "-", "3", "-"),
        ] {
            let Err(CaptionError::BadArgument { what, .. }) = parse(caption) else { panic!("{caption}") };
            assert_eq!((what.argument, what.given.as_str(), what.allowed.as_str()), (argument, given, allowed));
        }
    }

    #[test]
    fn an_unknown_word_suggests_the_nearest() {
        for (word, nearest) in [
            ("blurr", Some("blur")),
            ("rotat 90", Some("rotate")),
            ("slat and peper 0.1", Some("salt and pepper")),
            ("perdict", Some("predict")),
            ("hello there", None),
        ] {
            let Err(CaptionError::UnknownWord { nearest: found, .. }) = parse(word) else { panic!("{word}") };
            assert_eq!(found, nearest, "{word}");
        }
    }
}
