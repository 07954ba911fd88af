//! Delivers updates to the webhook: a chat's updates one after the other, chats in parallel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};

use super::log::Delivery;
use super::queue::{Next, Outcome, Update, Webhook};
use super::state::{Shared, unix_time};

/// Runs for ever; one task a bot.
pub(super) async fn dispatch(shared: Arc<Shared>, bot: i64) {
    let mut changes = shared.changes();
    let mut client: Option<(u64, reqwest::Client)> = None;
    loop {
        changes.borrow_and_update();
        let next = shared.state().bots.get_mut(&bot).map_or(Next::Idle, |bot| bot.queue.next(Instant::now()));
        match next {
            Next::Deliver { webhook, update, attempt } => {
                let ready = match &client {
                    Some((generation, client)) if *generation == webhook.generation => Ok(client.clone()),
                    _ => build_client(&webhook, shared.options.delivery_timeout),
                };
                if let Ok(built) = &ready {
                    client = Some((webhook.generation, built.clone()));
                }
                tokio::spawn(deliver(Arc::clone(&shared), bot, ready, webhook, update, attempt));
            }
            Next::Wait(time) => {
                let _ = tokio::time::timeout_at(time.into(), changes.changed()).await;
            }
            Next::Idle => {
                let _ = changes.changed().await;
            }
        }
    }
}

/// A client that trusts the uploaded certificate alone, and goes to `ip_address` whatever DNS says.
fn build_client(webhook: &Webhook, timeout: Duration) -> Result<reqwest::Client, String> {
    let mut builder =
        reqwest::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).no_proxy();
    if let Some(pem) = &webhook.certificate {
        let roots = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|error| error.to_string())?;
        builder = builder.tls_built_in_root_certs(false);
        for root in roots {
            builder = builder.add_root_certificate(root);
        }
    }
    if let Some(ip) = &webhook.ip_address {
        let url = reqwest::Url::parse(&webhook.url).map_err(|error| error.to_string())?;
        let ip = ip.parse().map_err(|_| "bad IP address".to_owned())?;
        if let Some(host) = url.host_str() {
            builder = builder.resolve(host, SocketAddr::new(ip, url.port_or_known_default().unwrap_or(443)));
        }
    }
    builder.build().map_err(|error| error.to_string())
}

async fn deliver(
    shared: Arc<Shared>,
    bot: i64,
    client: Result<reqwest::Client, String>,
    webhook: Webhook,
    update: Update,
    attempt: u32,
) {
    let started = Instant::now();
    let (status, outcome) = match client {
        Ok(client) => post(&client, &webhook, &update).await,
        Err(message) => (None, Outcome::Failed { retry_after: None, gone: false, message }),
    };
    let error = match &outcome {
        Outcome::Done => None,
        Outcome::Failed { message, .. } => Some(message.clone()),
    };
    let delivery = Delivery {
        bot,
        update: update.id,
        url: webhook.url,
        attempt,
        status,
        error,
        milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    shared.change(|state| {
        state.deliveries.push(|_| delivery);
        if let Some(bot) = state.bots.get_mut(&bot) {
            bot.queue.finish(update.id, webhook.generation, outcome, Instant::now(), unix_time());
        }
    });
}

async fn post(client: &reqwest::Client, webhook: &Webhook, update: &Update) -> (Option<u16>, Outcome) {
    let mut request = client.post(&webhook.url).header(CONTENT_TYPE, "application/json").body(update.body.to_string());
    if let Some(secret) = &webhook.secret {
        request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
    }
    match request.send().await {
        Ok(response) if response.status().is_success() => (Some(response.status().as_u16()), Outcome::Done),
        Ok(response) => {
            let status = response.status();
            let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let failed = Outcome::Failed {
                retry_after: seconds.map(Duration::from_secs),
                gone: status.as_u16() == 410,
                message: format!("Wrong response from the webhook: {status}"),
            };
            (Some(status.as_u16()), failed)
        }
        Err(error) => {
            let chain = anyhow::Error::from(error);
            let words = chain.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ");
            let message = if words.contains("certificate") {
                format!("SSL error {{certificate verify failed: {words}}}")
            } else if words.contains("refused") {
                "Connection refused".to_owned()
            } else if words.contains("timed out") {
                "Read timeout expired".to_owned()
            } else {
                words
            };
            (None, Outcome::Failed { retry_after: None, gone: false, message })
        }
    }
}
