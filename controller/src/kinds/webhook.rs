//! The Telegram webhook. The controller owns it, so that instances that come and go never race for it.

use crate::{
    aws::{Aws, Error, Result, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs, differs_as},
    facts::Fact,
    secret::Secret,
    telegram::WebhookInfo,
};
use std::{collections::BTreeSet, sync::Arc};

/// A webhook; a bot has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// Scheme, host and port: `https://bot.example.com:8443`.
    pub base_url: String,
    /// The public certificate that Telegram shall trust; empty where a public authority has signed it.
    pub certificate: Input<String>,
    /// Bot token and what is derived from it; why Telegram cannot be asked, where it cannot.
    pub token: Input<Token>,
    /// Path of a live one; a digest of certificate and secret, so that a change of either shows.
    pub path: Option<String>,
    /// Kinds of updates that are delivered.
    pub allowed_updates: BTreeSet<String>,
    /// Deliveries at once.
    pub max_connections: u32,
    /// A fixed address instead of the host's.
    pub ip_address: Option<String>,
}

/// The bot token as an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Token(pub Option<Secret<String>>);

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// What Telegram says, asked once a pass.
pub(crate) struct Asked(pub Fact<WebhookInfo>);

pub(crate) async fn ask(view: &View) -> Arc<Asked> {
    let asked = view.once(|| async {
        Ok(Asked(match &view.telegram {
            Some(telegram) => telegram.webhook_info().await,
            None => Err("no token".to_owned()),
        }))
    });
    asked.await.unwrap_or_else(|e| Arc::new(Asked(Err(e.to_string()))))
}

impl Resource for Webhook {
    const KIND: &'static str = "webhook";
    const AFTER: &'static [&'static str] = &["dns_record", "listener"];
    type Output = ();

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.certificate, &mut self.token]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self { base_url, certificate, token: _, path: _, allowed_updates, max_connections, ip_address } = self;
        let mut changes: Vec<_> = [
            differs("base_url", base_url, &live.base_url, How::InPlace),
            differs("allowed_updates", allowed_updates, &live.allowed_updates, How::InPlace),
            differs("max_connections", max_connections, &live.max_connections, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        // Telegram tells the address it resolved when none was given, so only a wish of ours is compared.
        if ip_address.is_some() {
            changes.extend(differs("ip_address", ip_address, &live.ip_address, How::InPlace));
        }
        let wanted = self.wanted_path();
        if wanted.is_none() || wanted != live.path {
            let to = wanted.unwrap_or_else(|| format!("{certificate:?}"));
            changes.push(differs_as("path", live.path.clone().unwrap_or_default(), to, How::InPlace));
        }
        changes
    }

    fn intent(&self) -> String {
        format!("{} {:?} {} {:?}", self.base_url, self.allowed_updates, self.max_connections, self.ip_address)
    }

    /// Without a reachable Telegram there is nothing to list; the wish then waits, and says why.
    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let asked = ask(view).await;
        let Ok(info) = &asked.0 else { return Ok(vec![]) };
        if info.url.is_empty() {
            return Ok(vec![]);
        }
        let split = info.url.find("/telegram/").unwrap_or(info.url.len());
        let (base, path) = info.url.split_at(split);
        let state = Self {
            base_url: base.to_owned(),
            certificate: Input::Known(String::new()),
            token: Input::Known(Token(None)),
            path: Some(path.to_owned()),
            allowed_updates: info.allowed_updates.clone().unwrap_or_default().into_iter().collect(),
            max_connections: info.max_connections.unwrap_or_default(),
            ip_address: info.ip_address.clone(),
        };
        Ok(vec![Live::ready("bot", base, state, ())])
    }

    async fn create(&self, aws: &Aws, _: &Tags) -> Result<()> {
        self.set(aws).await
    }

    async fn update(&self, aws: &Aws, _: &Live<Self>, _: &[Change]) -> Result<()> {
        self.set(aws).await
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        // A webhook that leads elsewhere is another stack's.
        if live.state.base_url != format!("https://{}:8443", aws.known.host) {
            return Ok(());
        }
        let Some(telegram) = &aws.telegram else { return Ok(()) };
        telegram.delete_webhook().await.map(drop).map_err(refused)
    }
}

fn refused(why: String) -> Error {
    Error { reason: crate::aws::Reason::Refused, ..Error::internal(why) }
}

impl Webhook {
    fn secret(&self) -> Option<String> {
        self.token.known()?.0.as_ref().map(|t| contract::webhook::secret(t.expose()))
    }

    fn wanted_path(&self) -> Option<String> {
        Some(contract::webhook::path(self.certificate.known()?, &self.secret()?))
    }

    async fn set(&self, aws: &Aws) -> Result<()> {
        let telegram = aws.telegram.as_ref().ok_or_else(|| Error::internal("no token"))?;
        let (Some(path), Some(secret)) = (self.wanted_path(), self.secret()) else {
            return Err(Error::internal("the webhook's certificate or token is not known"));
        };
        let updates: Vec<&String> = self.allowed_updates.iter().collect();
        let mut fields = vec![
            ("url", format!("{}{path}", self.base_url)),
            ("secret_token", secret),
            ("max_connections", self.max_connections.to_string()),
            ("allowed_updates", serde_json::json!(updates).to_string()),
        ];
        if let Some(address) = &self.ip_address {
            fields.push(("ip_address", address.clone()));
        }
        let pem = self.certificate.get()?.clone();
        telegram.set_webhook(fields, (!pem.is_empty()).then_some(pem)).await.map(drop).map_err(refused)
    }
}
