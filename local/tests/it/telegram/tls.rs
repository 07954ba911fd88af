//! Webhooks over HTTPS: the uploaded certificate is the only one that is trusted.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::serve::Listener;
use local::telegram::{LocalTelegram, Options};
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedKey, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::support::{Api, Hook};

struct TlsListener {
    inner: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.inner).await;
            // A client that does not trust us hangs up in the handshake.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// An HTTPS webhook for this host name, and its certificate.
async fn hook(host: &str) -> (Hook, String) {
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    hook_with(host, &cert, &signing_key).await
}

async fn hook_with(host: &str, cert: &Certificate, signing_key: &KeyPair) -> (Hook, String) {
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], key).unwrap();
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{host}:{}/hook", inner.local_addr().unwrap().port());
    let listener = TlsListener { inner, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let (app, deliveries) = Hook::app();
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Hook { url, deliveries }, cert.pem())
}

async fn set_webhook(api: &Api, url: &str, pem: &str) {
    // The name leads nowhere, as ip_address says where it is.
    let texts = [("url", url), ("ip_address", "127.0.0.1"), ("secret_token", "s")];
    let (status, body) = api.upload("setWebhook", &texts, &[("certificate", "cert.pem", pem.into())]).await;
    assert_eq!((status, &body["description"]), (200, &json!("Webhook was set")), "{body}");
}

#[tokio::test]
async fn the_uploaded_certificate_is_trusted_and_no_other() {
    let telegram = LocalTelegram::start_with(Options { time_scale: 1000.0, ..Options::default() }).await.unwrap();
    let api = Api::of(&telegram);
    let (mut hook, own) = hook("bot.example").await;
    let other = rcgen::generate_simple_self_signed(["bot.example".to_owned()]).unwrap().cert.pem();
    set_webhook(&api, &hook.url, &other).await;
    telegram.user(7, "Ada").send_text("over TLS").unwrap();
    telegram.wait_until(|telegram| (telegram.deliveries().len() > 1).then_some(())).await.unwrap();
    let info = api.ok("getWebhookInfo", json!({})).await;
    let error = info["last_error_message"].as_str().unwrap();
    assert!(error.starts_with("SSL error {certificate verify failed"), "{error}");
    assert_eq!((&info["has_custom_certificate"], &info["ip_address"]), (&json!(true), &json!("127.0.0.1")));

    set_webhook(&api, &hook.url, &own).await;
    let delivered = hook.next().await;
    assert_eq!(delivered.text(), "over TLS");
    assert_eq!(delivered.headers["x-telegram-bot-api-secret-token"], "s");
    delivered.answer(200);
    telegram.settled().await.unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_host_does_not_do() {
    let telegram = LocalTelegram::start_with(Options { time_scale: 1000.0, ..Options::default() }).await.unwrap();
    let api = Api::of(&telegram);
    let (hook, own) = hook("bot.example").await;
    set_webhook(&api, &hook.url.replace("bot.example", "other.example"), &own).await;
    telegram.user(7, "Ada").send_text("over TLS").unwrap();
    let first = telegram.wait_until(|telegram| telegram.deliveries().into_iter().next()).await.unwrap();
    assert!(first.error.unwrap().contains("certificate verify failed"));
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let telegram = LocalTelegram::start().await.unwrap();
    let files = [("certificate", "cert.pem", b"no PEM".to_vec())];
    let (status, body) = Api::of(&telegram).upload("setWebhook", &[("url", "https://bot.example/")], &files).await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_does_as_with_openssl() {
    let telegram = LocalTelegram::start_with(Options { time_scale: 1000.0, ..Options::default() }).await.unwrap();
    let api = Api::of(&telegram);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["bot.example".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let cert = params.self_signed(&key).unwrap();
    let (mut hook, own) = hook_with("bot.example", &cert, &key).await;
    set_webhook(&api, &hook.url.replace("bot.example", "other.example"), &own).await;
    telegram.user(7, "Ada").send_text("over TLS").unwrap();
    let first = telegram.wait_until(|telegram| telegram.deliveries().into_iter().next()).await.unwrap();
    assert!(first.error.unwrap().contains("certificate verify failed"), "the name must fit even so");
    set_webhook(&api, &hook.url, &own).await;
    hook.next().await.answer(200);
    telegram.settled().await.unwrap();
}
