//! A picture in memory: 8 bits a channel, gray or colour. Reading and writing formats is in the modules below; what is
//! done to pictures is in [`crate::filters`].

pub mod read;
pub mod write;

/// Most pixels that a picture may have, given or made.
pub const MAX_PIXELS: usize = 40_000_000;
/// Longest side that a picture may have, given or made.
pub const MAX_SIDE: usize = 20_000;

/// Pixels of `N` bytes each, row by row from the top.
#[derive(Clone, PartialEq, Eq)]
pub struct Raster<const N: usize> {
    width: usize,
    height: usize,
    bytes: Vec<u8>,
}

/// A picture. Colours take four bytes a pixel, so that a pixel is one machine word: the filters are a multiple faster
/// than on three bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// One byte a pixel: black is 0, white is 255.
    Gray(Raster<1>),
    /// Red, green, blue and 255.
    Rgb(Raster<4>),
    /// Red, green, blue and opacity.
    Rgba(Raster<4>),
}

impl<const N: usize> Raster<N> {
    /// A raster of these bytes.
    ///
    /// # Panics
    /// Where there are not `width * height * N` bytes.
    pub fn new(width: usize, height: usize, bytes: Vec<u8>) -> Self {
        assert_eq!(bytes.len(), width * height * N, "bytes of a {width}x{height} raster");
        Self { width, height, bytes }
    }

    /// A raster of one colour.
    pub fn filled(width: usize, height: usize, pixel: [u8; N]) -> Self {
        let mut raster = Self::new(width, height, vec![0; width * height * N]);
        raster.pixels_mut().fill(pixel);
        raster
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All bytes, to change.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// The bytes themselves.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// All pixels.
    pub fn pixels(&self) -> &[[u8; N]] {
        self.bytes.as_chunks().0
    }

    /// All pixels, to change.
    pub fn pixels_mut(&mut self) -> &mut [[u8; N]] {
        self.bytes.as_chunks_mut().0
    }

    /// Row `y`.
    pub fn row(&self, y: usize) -> &[[u8; N]] {
        &self.pixels()[y * self.width..][..self.width]
    }

    /// Row `y`, or the nearest row that there is: what lies beyond the edge looks like the edge.
    pub fn row_near(&self, y: isize) -> &[[u8; N]] {
        self.row(y.clamp(0, self.height.cast_signed() - 1).cast_unsigned())
    }

    /// Rows from the top, to change.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [[u8; N]]> {
        let width = self.width;
        self.pixels_mut().chunks_exact_mut(width)
    }
}

impl<const N: usize> std::fmt::Debug for Raster<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}x{N}", self.width, self.height)
    }
}

impl Picture {
    /// Pixels in a row.
    pub fn width(&self) -> usize {
        match self {
            Self::Gray(raster) => raster.width,
            Self::Rgb(raster) | Self::Rgba(raster) => raster.width,
        }
    }

    /// Rows.
    pub fn height(&self) -> usize {
        match self {
            Self::Gray(raster) => raster.height,
            Self::Rgb(raster) | Self::Rgba(raster) => raster.height,
        }
    }

    /// The same picture in colours.
    #[must_use]
    pub fn into_colour(self) -> Self {
        match self {
            Self::Gray(gray) => {
                let bytes = gray.bytes.iter().flat_map(|&v| [v, v, v, 255]).collect();
                Self::Rgb(Raster::new(gray.width, gray.height, bytes))
            }
            other => other,
        }
    }

    /// Works on colours weighted by their opacity, so that what is invisible does not bleed into what is not.
    #[must_use]
    pub fn with_weighted_colours(
        self,
        work: impl FnOnce(Raster<4>) -> Raster<4>,
        gray: impl FnOnce(Raster<1>) -> Raster<1>,
    ) -> Self {
        match self {
            Self::Gray(raster) => Self::Gray(gray(raster)),
            Self::Rgb(raster) => Self::Rgb(work(raster)),
            Self::Rgba(mut raster) => {
                for [r, g, b, a] in raster.pixels_mut() {
                    for colour in [r, g, b] {
                        *colour = weighted(*colour, *a);
                    }
                }
                let mut raster = work(raster);
                for [r, g, b, a] in raster.pixels_mut() {
                    for colour in [r, g, b] {
                        *colour = unweighted(*colour, *a);
                    }
                }
                Self::Rgba(raster)
            }
        }
    }
}

fn weighted(colour: u8, opacity: u8) -> u8 {
    let value = (u32::from(colour) * u32::from(opacity) + 127) / 255;
    u8::try_from(value).unwrap_or(u8::MAX)
}

fn unweighted(colour: u8, opacity: u8) -> u8 {
    let opacity = u32::from(opacity);
    let value = (u32::from(colour) * 255 + opacity / 2).checked_div(opacity).unwrap_or(0);
    u8::try_from(value).unwrap_or(u8::MAX)
}
