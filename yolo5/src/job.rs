//! One job from picture to answer. Repeating it does no harm: the record is written once, the same pictures and answers again.

use crate::{
    detect::{Detection, Thresholds},
    draw,
    model::{Detector, RunError},
    picture::{Picture, PictureError, extension},
    store::{Object, Store, StoreError},
};
use contract::{Answer, Job, Label, Outcome, Prediction, VERSION, record::PREDICTED_PREFIX, result::Failure};
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Semaphore;

/// Another attempt may work.
#[derive(Debug, thiserror::Error)]
pub enum Transient {
    /// AWS.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model failed or its thread died.
    #[error("the detector failed: {0}")]
    Detector(String),
}

/// What does the work.
pub struct Workshop {
    /// Pictures and records.
    pub store: Store,
    /// The model.
    pub detector: Arc<Detector>,
    /// As many pictures are looked at at once as this has permits: one a core.
    pub streams: Arc<Semaphore>,
    /// Least score where the job says none.
    pub confidence: f32,
}

/// What was found in a picture, and how it looks with that drawn in.
struct Looked {
    detections: Vec<Detection>,
    size: (u32, u32),
    drawn: Vec<u8>,
    format: image::ImageFormat,
}

impl Workshop {
    /// Does the job. A job that can never work is answered with its failure; only what may work another time is an error.
    pub async fn work(&self, job: &Job) -> Result<Answer, Transient> {
        let outcome = match self.store.labelled(&job.prediction_id).await? {
            // Done before, and the answer may be lost: polybot takes it as often as it comes.
            Some(true) => Outcome::Done,
            Some(false) => Outcome::NothingFound,
            None => self.look(job).await?,
        };
        Ok(answer(job, outcome))
    }

    async fn look(&self, job: &Job) -> Result<Outcome, Transient> {
        let bytes = match timed("download", self.store.get(&job.key)).await? {
            Object::Here(bytes) => bytes,
            Object::Missing => return Ok(Outcome::Failed(Failure::NoObject)),
            Object::TooLarge => return Ok(Outcome::Failed(Failure::TooLarge)),
        };
        let thresholds = Thresholds {
            confidence: job.confidence.filter(|c| (0.01..=1.0).contains(c)).unwrap_or(self.confidence),
            ..Thresholds::default()
        };
        let permit = self.streams.clone().acquire_owned().await.map_err(|e| Transient::Detector(e.to_string()))?;
        let detector = self.detector.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            look_at(&detector, &bytes, &thresholds)
        });
        let looked = match looked.await.map_err(|e| Transient::Detector(e.to_string()))? {
            Ok(looked) => looked,
            Err(Fault::Picture(PictureError::TooLarge { .. })) => return Ok(Outcome::Failed(Failure::TooLarge)),
            Err(Fault::Picture(_)) => return Ok(Outcome::Failed(Failure::NoImage)),
            Err(Fault::Run(error)) => return Err(Transient::Detector(error.to_string())),
        };
        let key = format!("{PREDICTED_PREFIX}/{}/{}.{}", job.chat_id, job.prediction_id, extension(looked.format));
        let prediction = Prediction {
            prediction_id: job.prediction_id.clone(),
            chat_id: job.chat_id,
            original_img_path: job.key.clone(),
            predicted_img_path: key.clone(),
            labels: looked.detections.iter().map(|d| label(d, looked.size)).collect(),
            time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        };
        timed("upload", self.store.put(&key, looked.drawn, looked.format.to_mime_type())).await?;
        timed("record", self.store.record(&prediction)).await?;
        Ok(if prediction.labels.is_empty() { Outcome::NothingFound } else { Outcome::Done })
    }
}

/// The answer to a job.
pub fn answer(job: &Job, outcome: Outcome) -> Answer {
    Answer {
        v: VERSION,
        prediction_id: job.prediction_id.clone(),
        chat_id: job.chat_id,
        message_id: job.message_id,
        reply_id: job.reply_id,
        outcome,
    }
}

async fn timed<T>(stage: &'static str, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let out = work.await;
    metrics::histogram!("yolo5_stage_seconds", "stage" => stage).record(begun.elapsed());
    out
}

enum Fault {
    Picture(PictureError),
    Run(RunError),
}

fn look_at(detector: &Detector, bytes: &[u8], thresholds: &Thresholds) -> Result<Looked, Fault> {
    let stage = |stage: &'static str, begun: Instant| {
        metrics::histogram!("yolo5_stage_seconds", "stage" => stage).record(begun.elapsed());
        Instant::now()
    };
    let begun = Instant::now();
    let mut picture = Picture::read(bytes).map_err(Fault::Picture)?;
    let begun = stage("read", begun);
    tracing::debug!("detects");
    let detections = detector.detect(&picture.pixels, thresholds).map_err(Fault::Run)?;
    metrics::counter!("yolo5_images_total").increment(1);
    let begun = stage("detect", begun);
    draw::annotate(&mut picture.pixels, &detections);
    let (drawn, format) = picture.write(&picture.pixels);
    stage("draw", begun);
    Ok(Looked { detections, size: picture.pixels.dimensions(), drawn, format })
}

/// A detection as the record holds it: centre and size as parts of the picture, 0 to 1.
pub fn label(d: &Detection, (width, height): (u32, u32)) -> Label {
    let [left, top, right, bottom] = d.pixels.map(f64::from);
    let (width, height) = (f64::from(width.max(1)), f64::from(height.max(1)));
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1")]
    let part = |v: f64| v.clamp(0.0, 1.0) as f32;
    Label {
        class: d.name.to_string(),
        cx: part(f64::midpoint(left, right) / width),
        cy: part(f64::midpoint(top, bottom) / height),
        width: part((right - left) / width),
        height: part((bottom - top) / height),
        score: d.score,
    }
}
