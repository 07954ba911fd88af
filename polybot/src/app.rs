//! What every part of the bot shares.

use crate::{
    config::Config,
    identity::{Current, Identity},
    source::Source,
    store::{Store, chat::Settings},
    studio::Studio,
    telegram::Chat,
    texts::Language,
    trouble::Trouble,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use teloxide::types::{ChatId, User};
use tokio::sync::watch;

/// What every part of the bot shares.
pub struct App {
    /// Where everything is.
    pub config: Config,
    /// Who the bot is.
    pub identity: Current,
    /// The chats table.
    pub store: Store,
    /// Where pictures are worked on.
    pub studio: Studio,
    /// Pictures and records for the detector.
    pub s3: aws_sdk_s3::Client,
    /// The predictions table's client.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// The queues.
    pub sqs: aws_sdk_sqs::Client,
    /// The metrics of this process.
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
    /// What it needs and does not get at the moment.
    pub missing: Missing,
    /// Turns true when the process is to end.
    pub stopping: watch::Receiver<bool>,
}

/// What the bot needs and does not get at the moment: the names of queues and services. The log has the reasons.
#[derive(Default)]
pub struct Missing(Mutex<BTreeSet<String>>);

/// What is wanted, by whom, where, and in which words the answer is to be.
#[derive(Clone)]
pub struct Talk {
    /// Everything shared.
    pub app: Arc<App>,
    /// The bot as it was when the talk began.
    pub identity: Arc<Identity>,
    /// The chat.
    pub chat: ChatId,
    /// The update that this is about; 0 where there is none.
    pub update: u32,
    /// The settings of the chat.
    pub settings: Settings,
    /// The language of the answer.
    pub language: Language,
}

impl App {
    /// Connects to AWS and Telegram.
    pub async fn connect(
        config: Config,
        aws: &aws_config::SdkConfig,
        metrics: metrics_exporter_prometheus::PrometheusHandle,
        stopping: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, Trouble> {
        let identity = Current::load(&config, aws_sdk_secretsmanager::Client::new(aws)).await?;
        let dynamodb = aws_sdk_dynamodb::Client::new(aws);
        // A stand-in for S3 has no host name for each bucket.
        let s3 = aws_sdk_s3::config::Builder::from(aws).force_path_style(aws.endpoint_url().is_some()).build();
        Ok(Arc::new(Self {
            identity,
            store: Store::new(dynamodb.clone(), config.chats_table.clone(), config.timing.lease),
            studio: Studio::new(),
            s3: aws_sdk_s3::Client::from_conf(s3),
            dynamodb,
            sqs: aws_sdk_sqs::Client::new(aws),
            metrics,
            missing: Missing::default(),
            stopping,
            config,
        }))
    }

    /// Whether the process is to end.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Comes back when the process is to end.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // The sender is gone only when the process ends anyway.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}

impl Missing {
    /// Notes whether it was there when it was last asked for.
    pub fn note(&self, name: &str, there: bool) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            names.remove(name);
        } else {
            names.insert(name.to_owned());
        }
    }

    /// All that is missing, in one line; nothing where nothing is.
    pub fn line(&self) -> String {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

impl Talk {
    /// Begins a talk: reads the chat's settings.
    pub async fn begin(app: &Arc<App>, chat: ChatId, user: Option<&User>, update: u32) -> Result<Self, Trouble> {
        let settings = app.store.settings(chat).await?;
        let language = settings.language.unwrap_or_else(|| Language::of_user(user));
        Ok(Self { app: Arc::clone(app), identity: app.identity.now(), chat, update, settings, language })
    }

    /// The chat, to send to.
    pub fn to(&self) -> Chat<'_> {
        Chat { bot: &self.identity.bot, id: self.chat }
    }

    /// Fetches a picture from Telegram.
    pub async fn fetch(&self, source: &Source) -> Result<Result<bytes::Bytes, crate::telegram::NoFile>, Trouble> {
        crate::telegram::fetch(&self.identity.bot, source).await
    }
}
