//! `detect`: objects in pictures from files, folders, patterns and standard input.

use super::{out, warn};
use crate::{
    cli::DetectArgs,
    detect::{Detection, Thresholds, labels},
    draw, job,
    model::Detector,
    picture::{Picture, extension},
};
use anyhow::{Context, bail};
use image::{ImageFormat, ImageReader};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, BufReader, ErrorKind, IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Instant,
};

/// Extensions that are taken from a folder.
const EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "jfif"];
/// What follows a picture's name in that of the same picture with boxes.
const DETECTED: &str = "-detected";
/// What follows it in that of its label file.
const LABELS: &str = ".txt";

/// A picture to look at.
enum Source {
    File(PathBuf),
    Stdin,
    /// Something that cannot be one, and why.
    Wrong(String, String),
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
            Self::Wrong(name, _) => name.clone(),
        }
    }

    fn read(&self) -> Result<Vec<u8>, String> {
        let read = match self {
            Self::File(path) => fs::read(path),
            Self::Stdin => {
                let mut bytes = vec![];
                io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
            }
            Self::Wrong(_, why) => return Err(why.clone()),
        };
        read.map_err(|e| unreadable(&e))
    }

    /// The formats that it may be in, before it is looked at.
    fn formats(&self) -> Vec<ImageFormat> {
        let guess =
            |path| ImageReader::new(BufReader::new(fs::File::open(path).ok()?)).with_guessed_format().ok()?.format();
        match self {
            Self::File(path) if path.is_file() => guess(path).into_iter().collect(),
            // Such as a pipe, which is read only once.
            Self::File(_) | Self::Stdin => vec![ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP],
            Self::Wrong(..) => vec![],
        }
    }
}

/// Why something cannot be read, and how to mend it.
fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "no such file".to_owned(),
        ErrorKind::PermissionDenied => {
            format!("it may not be read ({error}); let this user read it and enter the folders on the way to it")
        }
        _ => format!("it cannot be read ({error}); mend that or leave it out"),
    }
}

/// The pictures that the arguments name, in order, each once.
fn sources(paths: &[String]) -> Vec<Source> {
    let mut seen = BTreeSet::new();
    let mut all: Vec<_> =
        paths.iter().flat_map(|path| if path == "-" { vec![Source::Stdin] } else { named(path) }).collect();
    all.retain(|source| match source {
        Source::File(path) => seen.insert(absolute(path)),
        Source::Stdin | Source::Wrong(..) => true,
    });
    all
}

/// The pictures that one argument names, and what of it cannot be one.
fn named(path: &str) -> Vec<Source> {
    let given = Path::new(path);
    let wrong = |at: &Path, why: String| Source::Wrong(at.display().to_string(), why);
    let (mut found, mut all) = (vec![], vec![]);
    match fs::metadata(given) {
        Ok(about) if !about.is_dir() => return vec![Source::File(given.to_owned())],
        Ok(_) => match folder(given) {
            Ok(pictures) if pictures.is_empty() => all.push(wrong(given, "no pictures in this folder".to_owned())),
            Ok(pictures) => found = pictures,
            Err(e) => all.push(wrong(given, unreadable(&e))),
        },
        Err(error) => {
            for entry in glob::glob(path).into_iter().flatten() {
                match entry {
                    Ok(path) if path.is_file() => found.push(path),
                    Ok(_) => {}
                    Err(e) => all.push(wrong(e.path(), unreadable(e.error()))),
                }
            }
            if found.is_empty() && all.is_empty() {
                all.push(wrong(given, unreadable(&error)));
            }
        }
    }
    all.extend(originals(found).into_iter().map(Source::File));
    all
}

/// The pictures in a folder. One that cannot be opened is told later, by its own name.
fn folder(path: &Path) -> io::Result<Vec<PathBuf>> {
    let all: io::Result<Vec<_>> = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect();
    let mut all = all?;
    all.retain(|p| looks_like_picture(p) && p.metadata().map_or(true, |about| about.is_file()));
    all.sort();
    Ok(all)
}

/// Without what `--draw` wrote beside the pictures themselves another time.
fn originals(mut found: Vec<PathBuf>) -> Vec<PathBuf> {
    let all: BTreeSet<_> = found.iter().map(|p| p.with_extension("")).collect();
    let original = |p: &Path| Some(p.with_file_name(p.file_stem()?.to_str()?.strip_suffix(DETECTED)?));
    found.retain(|p| original(p).is_none_or(|original| !all.contains(&original)));
    found
}

/// One name for a file, wherever it is named from.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn looks_like_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

pub(super) fn run(args: &DetectArgs) -> anyhow::Result<ExitCode> {
    let all = sources(&args.paths);
    apart(&all, args)?;
    let detector = Detector::open(&args.model.model, &args.engine.options())?;
    let classes = classes(&args.classes, detector.names())?;
    let thresholds = Thresholds { confidence: args.conf, iou: args.iou, ..Thresholds::default() };
    if let Some(folder) = &args.output {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}; give another --output", folder.display()))?;
    }
    let bar = if std::io::stderr().is_terminal() && all.len() > 1 {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {per_sec} {msg}")?;
        ProgressBar::new(all.len() as u64).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    if args.csv {
        out("file,class,score,left,top,right,bottom\n")?;
    }
    let (mut counts, mut failed, mut looked) = (BTreeMap::new(), 0, 0_u32);
    let begun = Instant::now();
    for source in &all {
        match one(&detector, source, &thresholds, &classes, args) {
            Ok((text, detections)) => {
                looked += 1;
                for d in &detections {
                    *counts.entry(d.name.clone()).or_insert(0) += 1;
                }
                bar.suspend(|| out(&text))?;
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| warn(&format!("error: {}: {error}\n", source.name())));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if all.len() > 1 {
        let per_second = f64::from(looked) / begun.elapsed().as_secs_f64().max(1e-9);
        let counts: Vec<_> = counts.iter().map(|(name, n): (_, &u32)| format!("{n} {name}")).collect();
        let found = if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") };
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        warn(&format!("{looked} pictures{failed}: {found} ({per_second:.1} images/s)\n"));
    }
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The classes of these names, of all that the model has.
fn classes(names: &[String], all: &[Arc<str>]) -> anyhow::Result<BTreeSet<usize>> {
    names
        .iter()
        .map(|name| match labels::class(all, name) {
            Some(class) => Ok(class),
            None => bail!("there is no class {name:?}; the classes are {}", all.join(", ")),
        })
        .collect()
}

/// Looks at one picture; what is printed of it.
fn one(
    detector: &Detector,
    source: &Source,
    thresholds: &Thresholds,
    classes: &BTreeSet<usize>,
    args: &DetectArgs,
) -> Result<(String, Vec<Detection>), String> {
    let bytes = source.read()?;
    let mut picture = Picture::read(&bytes).map_err(|e| e.to_string())?;
    let mut found = detector.detect(&picture.pixels, thresholds).map_err(|e| e.to_string())?;
    found.retain(|d| classes.is_empty() || classes.contains(&d.class));
    let (width, height) = picture.pixels.dimensions();
    let name = source.name();
    if draws(args) {
        draw::annotate(&mut picture.pixels, &found);
        let (drawn, format) = picture.write(&picture.pixels);
        write(&beside(source, args, &detected(format)), &drawn)?;
    }
    if args.yolo {
        let lines = found.iter().map(|d| {
            let l = job::label(d, (width, height));
            format!("{} {:.6} {:.6} {:.6} {:.6} {:.6}\n", d.class, l.cx, l.cy, l.width, l.height, d.score)
        });
        write(&beside(source, args, LABELS), lines.collect::<String>().as_bytes())?;
    }
    let mut text = String::new();
    if args.json {
        let objects: Vec<_> =
            found.iter().map(|d| serde_json::json!({ "class": &*d.name, "score": d.score, "box": d.pixels })).collect();
        let line = serde_json::json!({ "file": name, "width": width, "height": height, "objects": objects });
        text = format!("{line}\n");
    } else if args.csv {
        for d in &found {
            let [l, t, r, b] = d.pixels;
            text += &format!("{},{},{:.4},{l},{t},{r},{b}\n", quoted(&name), quoted(&d.name), d.score);
        }
    } else {
        text = format!("{name} ({width}x{height}): {}\n", if found.is_empty() { "nothing found" } else { "" });
        for d in &found {
            text += &format!("  {:<14} {:.3}  {:?}\n", d.name, d.score, d.pixels);
        }
    }
    Ok((text, found))
}

/// A value of a line of comma-separated ones.
fn quoted(text: &str) -> Cow<'_, str> {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

/// Refuses pictures whose results would be one file, of which only the last would be left.
fn apart(all: &[Source], args: &DetectArgs) -> anyhow::Result<()> {
    if !draws(args) && !args.yolo {
        return Ok(());
    }
    let mut taken = BTreeMap::new();
    for source in all {
        let mut endings = vec![];
        for format in source.formats() {
            endings.extend(draws(args).then(|| detected(format)));
            endings.extend(args.yolo.then(|| LABELS.to_owned()));
        }
        endings.sort();
        endings.dedup();
        for ending in endings {
            let path = beside(source, args, &ending);
            if let Some(other) = taken.insert(absolute(&path), source.name()) {
                bail!(
                    "{other} and {} would both be written to {}; rename one, or look at them apart, each with an --output of its own",
                    source.name(),
                    path.display()
                );
            }
        }
    }
    Ok(())
}

/// Whether pictures with boxes are written.
fn draws(args: &DetectArgs) -> bool {
    args.draw || args.output.is_some() && !args.yolo
}

/// How the name of a picture with boxes ends.
fn detected(format: ImageFormat) -> String {
    format!("{DETECTED}.{}", extension(format))
}

/// Where a file that belongs to a picture goes.
fn beside(source: &Source, args: &DetectArgs, ending: &str) -> PathBuf {
    let path = match source {
        Source::File(path) => path.clone(),
        _ => PathBuf::from("stdin"),
    };
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = args.output.clone().or_else(|| path.parent().map(Path::to_owned)).unwrap_or_default();
    folder.join(format!("{stem}{ending}"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}; give another --output", path.display()))
}
