//! What can be done to a picture: pure functions, a file each, and the list of them that the caption parser, the help
//! and the keyboard read. What gains by wider registers is built twice, and the processor chooses (`#[multiversion]`); the
//! results are the same to the bit.

pub mod blur;
pub mod concat;
pub mod contour;
pub mod gray;
pub mod mirror;
pub mod pixelate;
pub mod resize;
pub mod rotate;
pub mod salt_and_pepper;
pub mod segment;
pub mod sepia;
pub mod sharpen;

use crate::picture::{MAX_PIXELS, MAX_SIDE, Picture};
use concat::Side;
use mirror::Axis;
use rotate::Turn;

/// A filter with its arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filter {
    /// See [`blur`].
    Blur {
        /// Side of the square.
        size: u32,
    },
    /// See [`contour`].
    Contour,
    /// See [`rotate`].
    Rotate(Turn),
    /// See [`salt_and_pepper`].
    SaltAndPepper {
        /// Share of the pixels.
        share: f64,
    },
    /// See [`concat`].
    Concat(Side),
    /// See [`segment`].
    Segment,
    /// See [`gray`].
    Gray,
    /// See [`sharpen`].
    Sharpen,
    /// See [`sepia`].
    Sepia,
    /// See [`pixelate`].
    Pixelate {
        /// Side of a square.
        size: u32,
    },
    /// See [`resize`].
    Resize {
        /// Of the picture's size.
        percent: u32,
    },
    /// See [`mirror`].
    Mirror(Axis),
}

/// What the conversation needs to know of a filter.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The word that a user writes; also the caption of its button. Its help line is the text `help-` and this word,
    /// hyphens for spaces.
    pub name: &'static str,
    /// Other words for it.
    pub aliases: &'static [&'static str],
    /// Its arguments, as the help shows them.
    pub arguments: &'static str,
    /// One way to write it.
    pub example: &'static str,
    /// Reads its arguments.
    pub parse: fn(&[&str]) -> Result<Filter, BadArgument>,
}

/// Why the arguments of a filter cannot be read. The words for it are in the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadArgument {
    /// Which argument.
    pub argument: &'static str,
    /// What the user wrote.
    pub given: String,
    /// What may be written.
    pub allowed: String,
}

/// The result of a filter would be over the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultTooLarge {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Every filter, in the order of the help and the keyboard.
pub const FILTERS: &[Entry] = &[
    Entry { name: "blur", aliases: &[], arguments: "[N]", example: "blur 10", parse: parse_blur },
    Entry {
        name: "contour",
        aliases: &["contours"],
        arguments: "",
        example: "contour",
        parse: |a| none(a, Filter::Contour),
    },
    Entry {
        name: "rotate",
        aliases: &[],
        arguments: "[clockwise|anti-clockwise] [90|180|270]",
        example: "rotate anti-clockwise 90",
        parse: parse_rotate,
    },
    Entry {
        name: "salt and pepper",
        aliases: &["salt & pepper", "salt n pepper", "salt-and-pepper"],
        arguments: "[0-1]",
        example: "salt and pepper 0.2",
        parse: parse_salt_and_pepper,
    },
    Entry {
        name: "concat",
        aliases: &[],
        arguments: "[horizontal|vertical] [right|left|below|above]",
        example: "concat vertical",
        parse: parse_concat,
    },
    Entry { name: "segment", aliases: &[], arguments: "", example: "segment", parse: |a| none(a, Filter::Segment) },
    Entry {
        name: "gray",
        aliases: &["grey", "grayscale", "greyscale"],
        arguments: "",
        example: "gray",
        parse: |a| none(a, Filter::Gray),
    },
    Entry { name: "sharpen", aliases: &[], arguments: "", example: "sharpen", parse: |a| none(a, Filter::Sharpen) },
    Entry { name: "sepia", aliases: &[], arguments: "", example: "sepia", parse: |a| none(a, Filter::Sepia) },
    Entry { name: "pixelate", aliases: &[], arguments: "[N]", example: "pixelate 20", parse: parse_pixelate },
    Entry { name: "resize", aliases: &["scale"], arguments: "N%", example: "resize 50%", parse: parse_resize },
    Entry {
        name: "mirror",
        aliases: &["flip"],
        arguments: "[horizontal|vertical]",
        example: "mirror",
        parse: parse_mirror,
    },
];

impl Filter {
    /// The picture after this filter; one picture put together with none is itself. The `seed` decides what is left to
    /// chance.
    pub fn apply(self, picture: Picture, seed: u64) -> Result<Picture, ResultTooLarge> {
        Ok(match self {
            Self::Blur { size } => blur::blur(picture, size),
            Self::Contour => contour::contour(picture),
            Self::Rotate(turn) => rotate::rotate(picture, turn),
            Self::SaltAndPepper { share } => salt_and_pepper::salt_and_pepper(picture, share, seed),
            Self::Concat(_) => picture,
            Self::Segment => segment::segment(picture),
            Self::Gray => gray::gray(picture),
            Self::Sharpen => sharpen::sharpen(picture),
            Self::Sepia => sepia::sepia(picture),
            Self::Pixelate { size } => pixelate::pixelate(picture, size),
            Self::Resize { percent } => {
                let (width, height) = resize::at((picture.width(), picture.height()), percent);
                if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
                    return Err(ResultTooLarge { width, height });
                }
                resize::to_size(picture, width, height)
            }
            Self::Mirror(axis) => mirror::mirror(picture, axis),
        })
    }
}

fn bad(argument: &'static str, given: &[&str], allowed: impl Into<String>) -> BadArgument {
    BadArgument { argument, given: given.join(" "), allowed: allowed.into() }
}

fn none(arguments: &[&str], filter: Filter) -> Result<Filter, BadArgument> {
    if arguments.is_empty() { Ok(filter) } else { Err(bad("-", arguments, "-")) }
}

fn whole(name: &'static str, given: &str, least: u32, most: u32) -> Result<u32, BadArgument> {
    let number = given.parse().ok().filter(|n| (least..=most).contains(n));
    number.ok_or_else(|| bad(name, &[given], format!("{least}–{most}")))
}

fn parse_blur(arguments: &[&str]) -> Result<Filter, BadArgument> {
    match arguments {
        [] => Ok(Filter::Blur { size: blur::DEFAULT }),
        [n] => Ok(Filter::Blur { size: whole("N", n, 1, blur::MAX)? }),
        more => Err(bad("N", more, format!("1–{}", blur::MAX))),
    }
}

fn parse_pixelate(arguments: &[&str]) -> Result<Filter, BadArgument> {
    match arguments {
        [] => Ok(Filter::Pixelate { size: pixelate::DEFAULT }),
        [n] => Ok(Filter::Pixelate { size: whole("N", n, 1, pixelate::MAX)? }),
        more => Err(bad("N", more, format!("1–{}", pixelate::MAX))),
    }
}

fn parse_resize(arguments: &[&str]) -> Result<Filter, BadArgument> {
    let allowed = || format!("{}%–{}%", resize::MIN, resize::MAX);
    let given = arguments.concat();
    let percent = given.strip_suffix('%').unwrap_or(&given).parse().ok();
    match percent.filter(|n| (resize::MIN..=resize::MAX).contains(n)) {
        Some(percent) => Ok(Filter::Resize { percent }),
        None => Err(bad("N%", arguments, allowed())),
    }
}

fn parse_salt_and_pepper(arguments: &[&str]) -> Result<Filter, BadArgument> {
    match arguments {
        [] => Ok(Filter::SaltAndPepper { share: salt_and_pepper::DEFAULT }),
        [p] => match p.parse().ok().filter(|p| (0.0..=1.0).contains(p)) {
            Some(share) => Ok(Filter::SaltAndPepper { share }),
            None => Err(bad("p", arguments, "0–1")),
        },
        more => Err(bad("p", more, "0–1")),
    }
}

fn parse_rotate(arguments: &[&str]) -> Result<Filter, BadArgument> {
    let (clockwise, degrees) = match arguments {
        ["anti", "clockwise", rest @ ..] => (false, rest),
        ["anti-clockwise" | "anticlockwise" | "counter-clockwise" | "counterclockwise" | "left", rest @ ..] => {
            (false, rest)
        }
        ["clockwise" | "right", rest @ ..] | rest => (true, rest),
    };
    let degrees = match degrees {
        [] => "90",
        [degrees] => degrees.strip_suffix('°').unwrap_or(degrees),
        more => return Err(bad("clockwise|anti-clockwise", more, "90, 180, 270")),
    };
    match (degrees, clockwise) {
        ("90", true) | ("270", false) => Ok(Filter::Rotate(Turn::Quarter)),
        ("180", _) => Ok(Filter::Rotate(Turn::Half)),
        ("270", true) | ("90", false) => Ok(Filter::Rotate(Turn::ThreeQuarters)),
        _ => Err(bad("degrees", &[degrees], "90, 180, 270")),
    }
}

fn parse_concat(arguments: &[&str]) -> Result<Filter, BadArgument> {
    let side = match arguments {
        [] | ["horizontal" | "right"] | ["horizontal", "right"] => Side::Right,
        ["left"] | ["horizontal", "left"] => Side::Left,
        ["vertical" | "below" | "bottom" | "down"] | ["vertical", "below" | "bottom" | "down"] => Side::Below,
        ["above" | "top" | "up"] | ["vertical", "above" | "top" | "up"] => Side::Above,
        other => return Err(bad("direction", other, "horizontal [right|left], vertical [below|above]")),
    };
    Ok(Filter::Concat(side))
}

fn parse_mirror(arguments: &[&str]) -> Result<Filter, BadArgument> {
    match arguments {
        [] | ["horizontal"] => Ok(Filter::Mirror(Axis::Horizontal)),
        ["vertical"] => Ok(Filter::Mirror(Axis::Vertical)),
        other => Err(bad("direction", other, "horizontal, vertical")),
    }
}
