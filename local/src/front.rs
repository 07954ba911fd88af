//! The load balancer's stand-in: TLS with the certificate that the local AWS holds for a host, and each request to the next
//! of several instances that answer `/health`.
//!
//! It takes the certificate from where an ALB takes it, the certificate manager, and follows when it is renewed.

use anyhow::Context;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    serve::Listener,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Where the front stands and whom it serves.
#[derive(Clone, Debug)]
pub struct Front {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Endpoint of the local AWS.
    pub aws: String,
    /// Host name of the certificate.
    pub host: String,
    /// The instances: `http://127.0.0.1:PORT`.
    pub instances: Vec<String>,
}

#[derive(serde::Deserialize)]
struct Shown {
    certificate: String,
    key: String,
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone())
    }
}

async fn certificate(front: &Front) -> anyhow::Result<CertifiedKey> {
    let url = format!("{}/_local/certificate/{}", front.aws, front.host);
    let answer =
        reqwest::get(&url).await?.error_for_status().with_context(|| format!("no certificate for {}", front.host))?;
    let Shown { certificate, key } = answer.json().await?;
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)?;
    Ok(CertifiedKey::new(chain, signing))
}

/// TLS connections that have shaken hands, each in its own time: a slow one holds up nobody.
struct Tls {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

struct Proxy {
    client: reqwest::Client,
    instances: Vec<String>,
    next: AtomicUsize,
}

/// Serves until dropped. Returns the address once it listens, and the server to be awaited.
pub async fn serve(front: Front) -> anyhow::Result<(SocketAddr, impl Future<Output = std::io::Result<()>>)> {
    let current = Arc::new(Current(RwLock::new(Arc::new(certificate(&front).await?))));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_no_client_auth().with_cert_resolver(current.clone());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener =
        TcpListener::bind(front.listen).await.with_context(|| format!("cannot listen on {}", front.listen))?;
    let address = listener.local_addr()?;

    let (sender, ready) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Ok((stream, from)) = listener.accept().await {
            let (acceptor, sender) = (acceptor.clone(), sender.clone());
            tokio::spawn(async move {
                let shake = tokio::time::timeout(Duration::from_secs(10), acceptor.accept(stream));
                if let Ok(Ok(stream)) = shake.await {
                    drop(sender.send((stream, from)).await);
                }
            });
        }
    });
    tokio::spawn({
        let front = front.clone();
        async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if let Ok(new) = certificate(&front).await {
                    *current.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(new);
                }
            }
        }
    });
    let client = reqwest::Client::builder().timeout(Duration::from_secs(75)).build()?;
    let proxy = Arc::new(Proxy { client, instances: front.instances, next: AtomicUsize::new(0) });
    let routes = Router::new().fallback(forward).with_state(proxy);
    let server = axum::serve(Tls { ready, address }, routes);
    Ok((address, async move { server.await }))
}

/// To the next instance that is healthy; each is asked once.
async fn forward(State(proxy): State<Arc<Proxy>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 64 * 1024 * 1024).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    for _ in 0..proxy.instances.len() {
        let turn = proxy.next.fetch_add(1, Ordering::Relaxed) % proxy.instances.len();
        let Some(instance) = proxy.instances.get(turn) else { break };
        let healthy = proxy.client.get(format!("{instance}/health")).timeout(Duration::from_secs(2)).send().await;
        if !healthy.is_ok_and(|answer| answer.status().is_success()) {
            continue;
        }
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let mut headers = parts.headers.clone();
        headers.remove(header::HOST);
        headers.remove(header::CONTENT_LENGTH);
        let call = proxy.client.request(parts.method.clone(), format!("{instance}{path}")).headers(headers);
        return match call.body(body).send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                let mut response = Response::new(Body::from(answer.bytes().await.unwrap_or_default()));
                *response.status_mut() = status;
                for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
                    if let Some(value) = headers.get(&name) {
                        response.headers_mut().insert(name, value.clone());
                    }
                }
                response
            }
            // The instance died with the request in hand; Telegram sends it again.
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        };
    }
    StatusCode::SERVICE_UNAVAILABLE.into_response()
}
