//! Where pictures are worked on: off the async threads, no more at once than memory and processors allow.

use crate::{
    caption::Request,
    filters::{self, Filter, ResultTooLarge, concat::Joined, resize},
    picture::{
        MAX_PIXELS, Picture,
        read::{self, ReadError},
        write::{self, File},
    },
    trouble::Trouble,
};
use bytes::Bytes;
use image::ImageFormat;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Megapixels in work at once. A pixel takes four bytes before and four after: this bounds memory to some 400 MB.
const MEGAPIXELS: usize = MAX_PIXELS / 1_000_000;
/// Longest time that a user waits for a picture.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most photos of an album.
pub const MAX_PARTS: usize = 10;

/// The room for pictures of this process.
pub struct Studio {
    megapixels: Arc<Semaphore>,
    processors: Arc<Semaphore>,
}

/// How a result is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// As a photo.
    Photo,
    /// As a document, at full size and in the format it came in.
    Document,
}

/// Why there is no result. The words for it are in the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoResult {
    /// The file is no picture that the bot takes.
    Read(ReadError),
    /// The result would be too large.
    TooLarge(ResultTooLarge),
    /// It took too long.
    Slow,
}

/// Photos put together.
pub struct Combined {
    /// The file.
    pub file: File,
    /// See [`Joined::scaled`].
    pub scaled: bool,
    /// See [`Joined::padded`].
    pub padded: bool,
}

impl Studio {
    /// The room for pictures of this process.
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { megapixels: Arc::new(Semaphore::new(MEGAPIXELS)), processors: Arc::new(Semaphore::new(processors)) }
    }

    /// Applies filters to one picture.
    pub async fn filter(
        &self,
        bytes: Bytes,
        filters: Vec<Filter>,
        wanted: Wanted,
        seed: u64,
    ) -> Result<Result<File, NoResult>, Trouble> {
        let pixels = match read::size(&bytes) {
            Ok((width, height)) => width as usize * height as usize * growth(&filters),
            Err(error) => return Ok(Err(NoResult::Read(error))),
        };
        self.work(pixels, move || {
            let read = read::read(&bytes).map_err(NoResult::Read)?;
            drop(bytes);
            let picture = applied(read.picture, &filters, seed)?;
            written(picture, wanted, read.format)
        })
        .await
    }

    /// Puts pictures together, and applies the filters before and after that.
    pub async fn combine(
        &self,
        files: Vec<Bytes>,
        request: Request,
        wanted: Wanted,
        seed: u64,
    ) -> Result<Result<Combined, NoResult>, Trouble> {
        let mut pixels = 0;
        for file in &files {
            match read::size(file) {
                Ok((width, height)) => pixels += width as usize * height as usize,
                Err(error) => return Ok(Err(NoResult::Read(error))),
            }
        }
        let Some((side, after)) = request.joined else { return Err(Trouble::BrokenOff) };
        self.work(pixels, move || {
            let share = share_of(pixels);
            let mut pictures = Vec::with_capacity(files.len());
            for file in files {
                let picture = read::read(&file).map_err(NoResult::Read)?.picture;
                let (width, height) = resize::size_at(&picture, share);
                pictures.push(applied(resize::to_size(picture, width, height), &request.each, seed)?);
            }
            let Joined { picture, scaled, padded } = filters::concat::concat(pictures, side);
            let file = written(applied(picture, &after, seed)?, wanted, ImageFormat::Jpeg)?;
            Ok(Combined { file, scaled: scaled || share < 100, padded })
        })
        .await
    }

    /// Runs work on so many pixels when there is room for it. The room is held until the work really ends, also where
    /// nobody waits for it any more.
    async fn work<T: Send + 'static>(
        &self,
        pixels: usize,
        work: impl FnOnce() -> Result<T, NoResult> + Send + 'static,
    ) -> Result<Result<T, NoResult>, Trouble> {
        let megapixels = u32::try_from(pixels.div_ceil(1_000_000).clamp(1, MEGAPIXELS)).unwrap_or(1);
        let room = Arc::clone(&self.megapixels).acquire_many_owned(megapixels).await.map_err(|_| Trouble::BrokenOff)?;
        let processor = Arc::clone(&self.processors).acquire_owned().await.map_err(|_| Trouble::BrokenOff)?;
        let started = std::time::Instant::now();
        let task = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((room, processor));
            result
        });
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(result)) => {
                metrics::histogram!("polybot_picture_seconds").record(started.elapsed().as_secs_f64());
                Ok(result)
            }
            Ok(Err(_)) => Err(Trouble::BrokenOff),
            Err(_) => Ok(Err(NoResult::Slow)),
        }
    }
}

impl Default for Studio {
    fn default() -> Self {
        Self::new()
    }
}

fn applied(picture: Picture, filters: &[Filter], seed: u64) -> Result<Picture, NoResult> {
    filters.iter().try_fold(picture, |picture, filter| filter.apply(picture, seed)).map_err(NoResult::TooLarge)
}

fn written(picture: Picture, wanted: Wanted, format: ImageFormat) -> Result<File, NoResult> {
    let file = match wanted {
        Wanted::Photo => write::photo(picture),
        Wanted::Document => write::document(picture, format),
    };
    file.map_err(|error| NoResult::Read(ReadError::Damaged(error.to_string())))
}

/// How much larger a chain may make a picture.
fn growth(filters: &[Filter]) -> usize {
    let percents =
        filters.iter().map(|filter| if let Filter::Resize { percent } = filter { *percent as usize } else { 100 });
    let most = percents.fold((100, 100), |(now, most), percent| {
        let now = (now * percent / 100).clamp(1, 10_000);
        (now, most.max(now))
    });
    (most.1 * most.1).div_ceil(10_000)
}

/// The percentage at which so many pixels fit into the studio.
fn share_of(pixels: usize) -> u32 {
    let fits = |share: &u32| pixels * (*share as usize).pow(2) / 10_000 <= MAX_PIXELS;
    (1..=100).rev().find(fits).unwrap_or(1)
}
