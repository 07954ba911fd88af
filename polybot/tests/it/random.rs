//! Captions and files under random input: each ends in a result or in words for the user, never in a panic.
//!
//! The corpus is `tests/corpus` and `tests/files`; what breaks something is added there. `RANDOM_SECONDS` says for how long
//! (10 here, 60 in CI), `RANDOM_SEED` repeats a run.

use polybot::{caption, picture::read, texts::Language};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::{Duration, Instant},
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn random_captions_and_files_never_panic() {
    let seed = number("RANDOM_SEED").unwrap_or_else(rand::random);
    let time = Duration::from_secs(number("RANDOM_SECONDS").unwrap_or(10));
    let mut random = StdRng::seed_from_u64(seed);
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let captions = std::fs::read_to_string(tests.join("corpus/captions.txt")).unwrap();
    let captions: Vec<&[u8]> = captions.lines().map(str::as_bytes).collect();
    let files: Vec<Vec<u8>> = std::fs::read_dir(tests.join("files"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending != "py"))
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();

    let end = Instant::now() + time;
    let mut runs = 0_u64;
    while Instant::now() < end {
        let words = String::from_utf8_lossy(&changed(&captions, &mut random)).into_owned();
        let read = catch_unwind(|| match caption::parse(&words) {
            Ok(_) => String::new(),
            Err(error) => Language::Hebrew.caption_error(error),
        });
        assert!(read.is_ok(), "seed {seed}: the caption {words:?}");
        let bytes = changed(&files, &mut random);
        let read = catch_unwind(AssertUnwindSafe(|| read::read(&bytes).map(drop)));
        if read.is_err() {
            let path = std::env::temp_dir().join(format!("random-{seed}"));
            std::fs::write(&path, &bytes).unwrap();
            panic!("seed {seed}: the file {}", path.display());
        }
        runs += 1;
    }
    // Even a slow machine gets somewhere.
    assert!(runs > 10, "{runs} runs");
}

/// An entry of the corpus, or the beginning of one and the end of another, with some bytes changed.
fn changed(corpus: &[&[u8]], random: &mut StdRng) -> Vec<u8> {
    let (one, other) = (*corpus.choose(random).unwrap(), *corpus.choose(random).unwrap());
    let mut bytes = match random.random_range(0..3) {
        0 => one.to_vec(),
        1 => one[..random.random_range(0..=one.len())].to_vec(),
        _ => {
            let (head, tail) = (random.random_range(0..=one.len()), random.random_range(0..=other.len()));
            [&one[..head], &other[tail..]].concat()
        }
    };
    for _ in 0..random.random_range(0..8) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        bytes[at] = match random.random_range(0..3) {
            0 => random.random(),
            1 => bytes[at] ^ (1 << random.random_range(0..8)),
            _ => *[0, 1, 0x7f, 0x80, 0xff].choose(random).unwrap(),
        };
    }
    bytes
}
