//! Values with a form of their own: address blocks, durations, regions. Parsed once, so that nothing downstream checks again.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, net::Ipv4Addr, str::FromStr};
use time::{Date, macros::format_description};

/// Serde and schema for a type whose text form is `Display` and `FromStr`.
macro_rules! textual {
    ($name:ident, $pattern:literal, $description:literal) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(D::Error::custom)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                // The API server prices rules by the longest string that may come.
                json_schema!({ "type": "string", "maxLength": 40, "pattern": $pattern, "description": $description })
            }
        }
    };
}

/// An IPv4 block in canonical form: no bit set behind the prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: u32,
    bits: u8,
}

textual!(Cidr, r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$", "An IPv4 block, such as 10.0.0.0/16.");

impl Cidr {
    /// A block known when this is compiled; bits behind the prefix are cleared.
    pub const fn literal(octets: [u8; 4], bits: u8) -> Self {
        let address = u32::from_be_bytes(octets);
        let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits as u32) };
        Self { address: address & mask, bits }
    }

    /// Bits of the prefix, 0 to 32.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// Whether every address of the other block is in this one.
    pub fn contains(self, other: Self) -> bool {
        self.bits <= other.bits && Self::literal(other.address.to_be_bytes(), self.bits) == self
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other) || other.contains(self)
    }

    /// The block of `bits` at `index` within this one, if it fits.
    pub fn part(self, bits: u8, index: u32) -> Option<Self> {
        let deeper = u32::from(bits.checked_sub(self.bits)?);
        if bits > 32 || (deeper < 32 && index >= 1 << deeper) {
            return None;
        }
        let offset = index.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        Some(Self { address: self.address | offset, bits })
    }
}

impl FromStr for Cidr {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no IPv4 block; write one like 10.0.0.0/16");
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let bits: u8 = bits.parse().ok().filter(|b| *b <= 32).ok_or_else(wrong)?;
        let canonical = Self::literal(address.octets(), bits);
        if canonical.address == u32::from(address) {
            Ok(canonical)
        } else {
            Err(format!("{text:?} has bits set behind its prefix; did you mean {canonical}?"))
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.address), self.bits)
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A time in whole seconds, written with a unit: `60s`, `5m`, `12h`, `4d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u32);

textual!(Duration, r"^\d+[smhd]$", "A time with its unit: 60s, 5m, 12h, 4d.");

impl Duration {
    /// So many seconds.
    pub const fn seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// In seconds.
    pub fn as_seconds(self) -> u32 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no time; write one like 60s, 5m, 12h or 4d");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let scale = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let number: u32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        number.checked_mul(scale).map(Self).ok_or_else(|| format!("{text:?} is too long a time"))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => write!(f, "0s"),
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An AWS region.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Region(String);

textual!(Region, r"^[a-z]{2}(-[a-z]+)+-\d$", "An AWS region, such as us-east-1.");

impl Region {
    /// The region's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Region {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('-').collect();
        let letters = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase());
        let fits = parts.len() >= 3
            && parts[0].len() == 2
            && parts[..parts.len() - 1].iter().all(letters)
            && parts.last().is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is no AWS region; write one like us-east-1"))
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A day, written `2026-12-31`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

textual!(Day, r"^\d{4}-\d{2}-\d{2}$", "A day, such as 2026-12-31.");

impl Day {
    /// The day as a date.
    pub fn date(self) -> Date {
        self.0
    }
}

impl FromStr for Day {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let form = format_description!("[year]-[month]-[day]");
        Date::parse(text, form).map(Self).map_err(|_| format!("{text:?} is no day; write one like 2026-12-31"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_the_calendar() {
        assert_eq!("2028-02-29".parse::<Day>().unwrap().to_string(), "2028-02-29");
        assert!("2027-02-29".parse::<Day>().is_err() && "tomorrow".parse::<Day>().is_err());
    }

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_are_canonical_or_refused_with_the_canonical_one() {
        assert_eq!(cidr("10.0.0.0/16").to_string(), "10.0.0.0/16");
        assert!("10.0.0.1/16".parse::<Cidr>().unwrap_err().contains("did you mean 10.0.0.0/16?"));
        assert!("10.0.0/16".parse::<Cidr>().is_err());
        assert!("10.0.0.0/33".parse::<Cidr>().is_err());
    }

    #[test]
    fn blocks_know_what_is_in_them() {
        assert!(cidr("10.0.0.0/16").contains(cidr("10.0.255.0/24")));
        assert!(!cidr("10.0.0.0/16").contains(cidr("10.1.0.0/24")));
        assert!(cidr("0.0.0.0/0").contains(cidr("10.1.0.0/24")));
        assert!(cidr("10.0.3.0/24").overlaps(cidr("10.0.0.0/16")));
    }

    #[test]
    fn blocks_are_parted() {
        assert_eq!(cidr("10.0.0.0/16").part(24, 3), Some(cidr("10.0.3.0/24")));
        assert_eq!(cidr("10.0.0.0/23").part(24, 1), Some(cidr("10.0.1.0/24")));
        assert_eq!(cidr("10.0.0.0/23").part(24, 2), None);
        assert_eq!(cidr("10.0.0.0/24").part(23, 0), None);
    }

    #[test]
    fn times_have_units() {
        assert_eq!("4d".parse(), Ok(Duration::seconds(345_600)));
        assert_eq!(Duration::seconds(90).to_string(), "90s");
        assert!("4".parse::<Duration>().is_err());
        assert!("99999999d".parse::<Duration>().is_err());
        assert!("é".parse::<Duration>().is_err());
    }

    #[test]
    fn regions_look_like_regions() {
        assert!("us-gov-west-1".parse::<Region>().is_ok());
        for bad in ["", "us-east", "useast1", "us-east-11", "US-EAST-1"] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
