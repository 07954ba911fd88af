//! How a bot gets its updates and files: webhook, long polling, `getFile`.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::Reply;
use crate::telegram::error::ApiError;
use crate::telegram::files::DOWNLOAD_LIMIT;
use crate::telegram::params::Params;
use crate::telegram::queue::Webhook;
use crate::telegram::state::Shared;

/// The largest certificate.
const CERTIFICATE_LIMIT: usize = 3 * 1024 * 1024;
/// Connections to a webhook when the bot names no number.
const CONNECTIONS: i64 = 40;

pub(super) fn set_webhook(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Reply, ApiError> {
    let url = params.text("url").unwrap_or_default().trim().to_owned();
    if url.is_empty() {
        return delete_webhook(shared, bot, params);
    }
    check_url(shared, &url)?;
    let certificate = certificate(params)?;
    let secret = params.text("secret_token").filter(|secret| !secret.is_empty());
    check_secret(secret.as_deref())?;
    let ip_address = params.text("ip_address").filter(|ip| !ip.is_empty());
    if ip_address.as_deref().is_some_and(|ip| ip.parse::<Ipv4Addr>().is_err()) {
        return Err(ApiError::bad("bad webhook: wrong IP address specified"));
    }
    let connections = params.integer("max_connections")?.unwrap_or(CONNECTIONS).clamp(1, 100);
    let allowed = params.nested::<Vec<String>>("allowed_updates")?;
    let drop_pending = params.flag("drop_pending_updates");
    let webhook = Webhook {
        url,
        generation: 0,
        fixed_ip: ip_address.is_some(),
        ip_address,
        certificate,
        secret,
        max_connections: usize::try_from(connections).unwrap_or(1),
    };
    shared.change(|state| {
        let queue = &mut state.bot(bot)?.queue;
        if drop_pending {
            queue.clear();
        }
        if let Some(allowed) = allowed {
            queue.allow(allowed);
        }
        // With a certificate it is never taken for a repetition: Telegram does not compare certificates.
        if webhook.certificate.is_none() && queue.webhook.as_ref().is_some_and(|old| same(old, &webhook)) {
            return Ok(Reply { result: json!(true), description: Some("Webhook is already set") });
        }
        queue.set_webhook(Some(webhook));
        Ok(Reply { result: json!(true), description: Some("Webhook was set") })
    })
}

fn same(old: &Webhook, new: &Webhook) -> bool {
    Webhook { generation: 0, ..old.clone() } == *new
}

fn check_url(shared: &Shared, url: &str) -> Result<(), ApiError> {
    let bad = |reason: &str| ApiError::bad(format_args!("bad webhook: {reason}"));
    let url = Url::parse(url).map_err(|_| bad("invalid webhook URL specified"))?;
    let options = &shared.options;
    if url.scheme() != "https" && !(options.allow_http && url.scheme() == "http") {
        return Err(bad("An HTTPS URL must be provided for webhook"));
    }
    let port = url.port_or_known_default().unwrap_or_default();
    if !options.any_port && ![443, 80, 88, 8443].contains(&port) {
        return Err(bad("Webhook can be set up only on ports 80, 88, 443 or 8443"));
    }
    Ok(())
}

fn check_secret(secret: Option<&str>) -> Result<(), ApiError> {
    let Some(secret) = secret else { return Ok(()) };
    if secret.len() > 256 {
        return Err(ApiError::bad("secret token is too long"));
    }
    if !secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Err(ApiError::bad("secret token contains unallowed characters"));
    }
    Ok(())
}

fn certificate(params: &Params) -> Result<Option<String>, ApiError> {
    let Some(upload) = params.file("certificate") else {
        return match params.text("certificate").filter(|text| !text.is_empty()) {
            Some(_) => Err(ApiError::bad("bad webhook: certificate must be uploaded as a file")),
            None => Ok(None),
        };
    };
    if upload.bytes.len() > CERTIFICATE_LIMIT {
        return Err(ApiError::bad(format_args!(
            "bad webhook: certificate size is too big ({} bytes)",
            upload.bytes.len()
        )));
    }
    let pem = String::from_utf8(upload.bytes.to_vec()).ok();
    let pem = pem.filter(|pem| reqwest::Certificate::from_pem_bundle(pem.as_bytes()).is_ok_and(|all| !all.is_empty()));
    pem.map(Some).ok_or_else(|| ApiError::bad("bad webhook: failed to set custom certificate file"))
}

pub(super) fn delete_webhook(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Reply, ApiError> {
    let drop_pending = params.flag("drop_pending_updates");
    shared.change(|state| {
        let queue = &mut state.bot(bot)?.queue;
        if drop_pending {
            queue.clear();
        }
        let was_set = queue.webhook.is_some();
        if was_set {
            queue.set_webhook(None);
        }
        let description = if was_set { "Webhook was deleted" } else { "Webhook is already deleted" };
        Ok(Reply { result: json!(true), description: Some(description) })
    })
}

pub(super) fn webhook_info(shared: &Arc<Shared>, bot: i64) -> Result<Value, ApiError> {
    let mut state = shared.state();
    let queue = &state.bot(bot)?.queue;
    let webhook = queue.webhook.as_ref();
    let mut info = json!({
        "url": webhook.map_or("", |webhook| &webhook.url),
        "has_custom_certificate": webhook.is_some_and(|webhook| webhook.certificate.is_some()),
        "pending_update_count": queue.len(),
    });
    if let Some(webhook) = webhook {
        info["max_connections"] = webhook.max_connections.into();
        if let Some(ip) = &webhook.ip_address {
            info["ip_address"] = ip.clone().into();
        }
        if let Some(error) = &queue.last_error {
            info["last_error_date"] = error.date.into();
            info["last_error_message"] = error.message.clone().into();
        }
    }
    if let Some(allowed) = queue.allowed() {
        info["allowed_updates"] = json!(allowed);
    }
    Ok(info)
}

pub(super) async fn updates(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let offset = params.integer("offset")?.unwrap_or(0);
    let limit = params.integer("limit")?.filter(|limit| (1..=100).contains(limit)).unwrap_or(100);
    let limit = usize::try_from(limit).unwrap_or(100);
    let seconds = u64::try_from(params.integer("timeout")?.unwrap_or(0).clamp(0, 50)).unwrap_or(0);
    let allowed = params.nested::<Vec<String>>("allowed_updates")?;
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let mut changes = shared.changes();
    let number = shared.change(|state| {
        let queue = &mut state.bot(bot)?.queue;
        if queue.webhook.is_some() {
            return Err(ApiError::conflict(
                "can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
            ));
        }
        if let Some(allowed) = allowed {
            queue.allow(allowed);
        }
        queue.poll += 1;
        Ok(queue.poll)
    })?;
    loop {
        changes.borrow_and_update();
        let found = poll(shared, bot, number, offset, limit)?;
        if !found.is_empty() || shared.stopped() {
            return Ok(found.into());
        }
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
            return poll(shared, bot, number, offset, limit).map(Value::from);
        }
    }
}

/// One look at the queue, unless a newer call or a webhook has ended this one.
fn poll(shared: &Shared, bot: i64, number: u64, offset: i64, limit: usize) -> Result<Vec<Value>, ApiError> {
    let mut state = shared.state();
    let queue = &mut state.bot(bot)?.queue;
    if queue.webhook.is_some() {
        return Err(ApiError::conflict("terminated by setWebhook request"));
    }
    if queue.poll != number {
        return Err(ApiError::conflict(
            "terminated by other getUpdates request; make sure that only one bot instance is running",
        ));
    }
    Ok(queue.poll(offset, limit))
}

pub(super) fn file(shared: &Arc<Shared>, bot: i64, params: &Params) -> Result<Value, ApiError> {
    let id = params.text("file_id").filter(|id| !id.is_empty());
    let id = id.ok_or_else(|| ApiError::bad("file_id not specified"))?;
    let (unique, stored) = shared.files.by_id(bot, &id).ok_or_else(|| ApiError::bad("invalid file_id"))?;
    if stored.size > DOWNLOAD_LIMIT {
        return Err(ApiError::bad("file is too big"));
    }
    Ok(json!({ "file_id": id, "file_unique_id": unique, "file_size": stored.size, "file_path": stored.path }))
}
