//! Where pictures are worked on: off the async threads, no more at once than memory and processors allow.

use crate::{
    caption::Request,
    filters::{
        self, Filter, ResultTooLarge,
        concat::{Joined, Side},
        resize,
        rotate::Turn,
    },
    picture::{
        MAX_PIXELS, Picture,
        read::{self, ReadError},
        write::{self, File},
    },
    source::Source,
    trouble::Trouble,
};
use bytes::Bytes;
use image::ImageFormat;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Megapixels in work at once. A pixel takes four bytes before and four after: this bounds memory to some 400 MB.
const MEGAPIXELS: usize = MAX_PIXELS / 1_000_000;
/// Bytes of files that are fetched and not read yet.
const FILES: usize = 120_000_000;
/// Longest time that a user waits for a picture.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most photos of an album.
pub const MAX_PARTS: usize = 10;

/// The room for pictures of this process.
pub struct Studio {
    megapixels: Arc<Semaphore>,
    processors: Arc<Semaphore>,
    files: Arc<Semaphore>,
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
    /// The result's file would be too large.
    TooHeavy,
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
        Self {
            megapixels: Arc::new(Semaphore::new(MEGAPIXELS)),
            processors: Arc::new(Semaphore::new(processors)),
            files: Arc::new(Semaphore::new(FILES)),
        }
    }

    /// Waits until there is room for the files of these pictures, which is theirs until the returned value is dropped. Whoever needs
    /// several asks for all at once, or two would wait for each other; who needs more than there is gets everything.
    pub async fn room_for(&self, sources: impl IntoIterator<Item = &Source>) -> Result<OwnedSemaphorePermit, Trouble> {
        let bytes = sources.into_iter().map(|source| match u64::from(source.bytes) {
            0 => read::MAX_BYTES,
            // What is longer is not fetched.
            bytes => bytes.min(read::MAX_BYTES),
        });
        let bytes = u32::try_from(bytes.sum::<u64>().min(FILES as u64)).unwrap_or(u32::MAX);
        Arc::clone(&self.files).acquire_many_owned(bytes).await.map_err(|_| Trouble::BrokenOff)
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
            Ok((width, height)) => most(&sizes((width as usize, height as usize), &filters)),
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
        let mut given = Vec::with_capacity(files.len());
        for file in &files {
            match read::size(file) {
                Ok((width, height)) => given.push((width as usize, height as usize)),
                Err(error) => return Ok(Err(NoResult::Read(error))),
            }
        }
        let Some((side, after)) = request.joined else { return Err(Trouble::BrokenOff) };
        let share = share_of(given.iter().map(|&size| pixels(size)).sum());
        let room = match room_of(&given, share, &request.each, side, &after) {
            Ok(pixels) => pixels,
            Err(error) => return Ok(Err(NoResult::TooLarge(error))),
        };
        self.work(room, move || {
            let mut pictures = Vec::with_capacity(files.len());
            for file in files {
                let picture = read::read(&file).map_err(NoResult::Read)?.picture;
                let (width, height) = resize::at((picture.width(), picture.height()), share);
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
        Wanted::Document => write::document(&picture, format),
    };
    let file = file.map_err(|error| NoResult::Read(ReadError::Damaged(error.to_string())))?;
    if file.bytes.len() > write::FILE_BYTES { Err(NoResult::TooHeavy) } else { Ok(file) }
}

/// The sizes that a picture has on its way through a chain, its own first.
fn sizes(size: (usize, usize), filters: &[Filter]) -> Vec<(usize, usize)> {
    let mut all = vec![size];
    let mut now = size;
    for filter in filters {
        now = match filter {
            Filter::Resize { percent } => resize::at(now, *percent),
            Filter::Rotate(Turn::Quarter | Turn::ThreeQuarters) => (now.1, now.0),
            _ => now,
        };
        all.push(now);
    }
    all
}

fn pixels((width, height): (usize, usize)) -> usize {
    width.saturating_mul(height)
}

/// The most pixels on the way.
fn most(sizes: &[(usize, usize)]) -> usize {
    sizes.iter().map(|&size| pixels(size)).max().unwrap_or(0)
}

/// The pixels that are in memory at once while pictures of these sizes, scaled to `share` percent, are filtered one by one, kept, put
/// together and filtered again. More of them than a picture may have are refused before the first is made.
fn room_of(
    given: &[(usize, usize)],
    share: u32,
    each: &[Filter],
    side: Side,
    after: &[Filter],
) -> Result<usize, ResultTooLarge> {
    let ways: Vec<_> = given.iter().map(|&size| sizes(resize::at(size, share), each)).collect();
    let ends: Vec<_> = ways.iter().filter_map(|way| way.last().copied()).collect();
    let (widths, heights) = (ends.iter().map(|end| end.0), ends.iter().map(|end| end.1));
    let joined = match side {
        Side::Left | Side::Right => (widths.sum(), heights.max().unwrap_or(0)),
        Side::Above | Side::Below => (widths.max().unwrap_or(0), heights.sum()),
    };
    let kept = ends.iter().fold(0_usize, |sum, &end| sum.saturating_add(pixels(end)));
    // Scaling to whole pixels may add a row or two.
    if kept > MAX_PIXELS + MAX_PIXELS / 100 {
        return Err(ResultTooLarge { width: joined.0, height: joined.1 });
    }
    let one = ways.iter().map(|way| most(way)).chain(given.iter().map(|&size| pixels(size))).max().unwrap_or(0);
    Ok(kept.saturating_add(one).max(most(&sizes(joined, after))))
}

/// The percentage at which so many pixels fit into the studio.
fn share_of(pixels: usize) -> u32 {
    let fits = |share: &u32| pixels * (*share as usize).pow(2) / 10_000 <= MAX_PIXELS;
    (1..=100).rev().find(fits).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::chat::Kept;
    use futures::FutureExt;

    #[tokio::test]
    async fn files_that_do_not_fit_beside_each_other_are_fetched_one_after_the_other() {
        let studio = Studio::new();
        let file = |bytes| Source { kept: Kept::Photo("id".into()), name: None, bytes };
        // Larger than all the room: such an album is alone.
        let album = vec![file(20_000_000); 10];
        let first = studio.room_for(&album).await.unwrap();
        let one = file(1);
        let mut second = std::pin::pin!(studio.room_for([&one]));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let second = second.await.unwrap();
        // Of unknown length: as long as a file can be.
        let unknown = studio.room_for(&vec![file(0); 5]).await.unwrap();
        assert_eq!(studio.files.available_permits(), FILES - 100_000_000 - 1);
        drop((second, unknown));
    }

    const GROW: Filter = Filter::Resize { percent: 500 };

    #[test]
    fn room_is_counted_with_what_filters_make_of_the_pictures() {
        let album = [(1000, 800); 10];
        let room = |each: &[Filter], after: &[Filter]| room_of(&album, 100, each, Side::Right, after);
        // Ten that are kept and the one in work; what the one picture grows to; what one of them grows to on its way.
        assert_eq!(room(&[], &[]), Ok(8_800_000));
        assert_eq!(room(&[], &[GROW]), Ok(200_000_000));
        assert_eq!(room(&[GROW, Filter::Resize { percent: 20 }], &[]), Ok(8_000_000 + 20_000_000));
        // Turned pictures lie beside each other by their new width.
        let turned = [Filter::Rotate(Turn::Quarter), GROW];
        assert_eq!(room(&turned, &[]), Err(ResultTooLarge { width: 40_000, height: 5000 }));
        let huge = [Filter::Resize { percent: 1000 }; 8];
        assert!(room(&huge, &[]).is_err());
    }
}
