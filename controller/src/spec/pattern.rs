//! Image tags with a star: `v1.*` follows the newest release of its kind, by the order of semantic versions
//! (<https://semver.org/#spec-item-11>) and not by that of letters. Pre-releases are never followed.

use std::str::FromStr;

/// A tag whose last part is a star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before the numbers: `v` or nothing.
    prefix: String,
    /// The numbers before the star; at most two.
    numbers: Vec<u64>,
}

impl Pattern {
    /// Whether a tag is meant as a pattern.
    pub fn is_meant(tag: &str) -> bool {
        tag.contains('*')
    }

    /// The newest of these tags that matches.
    pub fn newest<'a>(&self, tags: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let matching = tags.into_iter().filter_map(|tag| Some((self.version(tag)?, tag)));
        matching.max().map(|(_, tag)| tag)
    }

    /// The version that a tag names, if it matches.
    fn version(&self, tag: &str) -> Option<[u64; 3]> {
        let numbers: Vec<u64> = tag.strip_prefix(&self.prefix)?.split('.').map(number).collect::<Option<_>>()?;
        let version = <[u64; 3]>::try_from(numbers).ok()?;
        version.starts_with(&self.numbers).then_some(version)
    }
}

/// A number as semantic versions write it: digits without a leading zero.
fn number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} follows no versions");
        let (prefix, rest) = text.strip_prefix('v').map_or(("", text), |rest| ("v", rest));
        let before = rest.strip_suffix('*').ok_or_else(bad)?;
        let numbers = match before.strip_suffix('.') {
            Some(numbers) => numbers.split('.').map(number).collect::<Option<Vec<_>>>().ok_or_else(bad)?,
            None if before.is_empty() => vec![],
            None => return Err(bad()),
        };
        if numbers.len() > 2 {
            return Err(bad());
        }
        Ok(Self { prefix: prefix.to_owned(), numbers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAGS: [&str; 9] =
        ["v1.9.0", "v1.10.0", "v1.10.0-rc.1", "v2.0.0", "1.11.0", "v1.010.0", "latest", "v1.10", "v1.2.30"];

    #[test]
    fn the_newest_is_by_numbers_and_only_of_releases() {
        let newest = |pattern: &str| pattern.parse::<Pattern>().unwrap().newest(TAGS);
        assert_eq!(newest("v1.*"), Some("v1.10.0"));
        assert_eq!(newest("v1.2.*"), Some("v1.2.30"));
        assert_eq!(newest("v*"), Some("v2.0.0"));
        assert_eq!(newest("*"), Some("1.11.0"));
        assert_eq!(newest("v3.*"), None);
    }

    #[test]
    fn what_follows_nothing_is_refused() {
        for bad in ["v1*", "v1.*.2", "*-rc", "lat*st", "v1.2.3.*", "v01.*", "v1..*", "**", "v1.*-rc", "vv1.*"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn of_all_matching_versions_the_greatest_is_taken(versions in prop::collection::vec((0u64..3, 0u64..30, 0u64..30), 1..40)) {
            let tags: Vec<_> = versions.iter().map(|(a, b, c)| format!("v{a}.{b}.{c}")).collect();
            let newest = "v1.*".parse::<Pattern>().unwrap().newest(tags.iter().map(String::as_str));
            let greatest = versions.iter().filter(|v| v.0 == 1).max().map(|(a, b, c)| format!("v{a}.{b}.{c}"));
            prop_assert_eq!(newest.map(ToOwned::to_owned), greatest);
        }
    }
}
