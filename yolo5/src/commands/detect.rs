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
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{IsTerminal, Read},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

/// Extensions that are taken from a folder.
const EXTENSIONS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "jfif"];

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
        match self {
            Self::File(path) => fs::read(path).map_err(|e| e.to_string()),
            Self::Stdin => {
                let mut bytes = vec![];
                std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| e.to_string())?;
                Ok(bytes)
            }
            Self::Wrong(_, why) => Err(why.clone()),
        }
    }
}

/// The pictures that the arguments name, in order, each once.
fn sources(paths: &[String]) -> Vec<Source> {
    let mut seen = BTreeSet::new();
    let mut all = vec![];
    let wrong = |path: &str, why: &str| Source::Wrong(path.to_owned(), why.to_owned());
    for path in paths {
        if path == "-" {
            all.push(Source::Stdin);
            continue;
        }
        let given = Path::new(path);
        let mut found: Vec<PathBuf> = if given.is_dir() {
            let entries = fs::read_dir(given).map(|d| d.filter_map(Result::ok).map(|e| e.path()).collect::<Vec<_>>());
            match entries {
                Ok(entries) => entries.into_iter().filter(|p| p.is_file() && looks_like_picture(p)).collect(),
                Err(e) => {
                    all.push(wrong(path, &e.to_string()));
                    continue;
                }
            }
        } else if given.exists() {
            vec![given.to_owned()]
        } else {
            glob::glob(path).map(|g| g.filter_map(Result::ok).filter(|p| p.is_file()).collect()).unwrap_or_default()
        };
        if found.is_empty() {
            let why = if given.is_dir() { "no pictures in this folder" } else { "no such file" };
            all.push(wrong(path, why));
        }
        found.sort();
        all.extend(found.into_iter().filter(|p| seen.insert(p.clone())).map(Source::File));
    }
    all
}

fn looks_like_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

pub(super) fn run(args: &DetectArgs) -> anyhow::Result<ExitCode> {
    let classes = classes(&args.classes)?;
    let detector = Detector::open(&args.model.model, &args.engine.options())?;
    let thresholds = Thresholds { confidence: args.conf, iou: args.iou, ..Thresholds::default() };
    if let Some(folder) = &args.output {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let all = sources(&args.paths);
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
                    *counts.entry(d.name()).or_insert(0) += 1;
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

fn classes(names: &[String]) -> anyhow::Result<BTreeSet<usize>> {
    names
        .iter()
        .map(|name| match labels::class(name) {
            Some(class) => Ok(class),
            None => bail!("there is no class {name:?}; the classes are {}", labels::COCO.join(", ")),
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
    if args.draw || args.output.is_some() && !args.yolo {
        draw::annotate(&mut picture.pixels, &found);
        let (drawn, format) = picture.write(&picture.pixels);
        write(&beside(source, args, &format!("-detected.{}", extension(format))), &drawn)?;
    }
    if args.yolo {
        let lines = found.iter().map(|d| {
            let l = job::label(d, (width, height));
            format!("{} {:.6} {:.6} {:.6} {:.6} {:.6}\n", d.class, l.cx, l.cy, l.width, l.height, d.score)
        });
        write(&beside(source, args, ".txt"), lines.collect::<String>().as_bytes())?;
    }
    let mut text = String::new();
    if args.json {
        let objects: Vec<_> =
            found.iter().map(|d| serde_json::json!({ "class": d.name(), "score": d.score, "box": d.pixels })).collect();
        let line = serde_json::json!({ "file": name, "width": width, "height": height, "objects": objects });
        text = format!("{line}\n");
    } else if args.csv {
        let quoted = if name.contains([',', '"', '\n']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name };
        for d in &found {
            let [l, t, r, b] = d.pixels;
            text += &format!("{quoted},{},{:.4},{l},{t},{r},{b}\n", d.name(), d.score);
        }
    } else {
        text = format!("{name} ({width}x{height}): {}\n", if found.is_empty() { "nothing found" } else { "" });
        for d in &found {
            text += &format!("  {:<14} {:.3}  {:?}\n", d.name(), d.score, d.pixels);
        }
    }
    Ok((text, found))
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
    fs::write(path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
