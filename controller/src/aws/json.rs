//! CloudWatch and its logs, as far as alarms and log groups need them: signed calls of the JSON form of their APIs
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>,
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>). The SDK of the first speaks CBOR, and would bring a
//! second HTTP stack, an encoder and big decimals for five calls; that of the second is large for seven.

use super::{Error, Reason, Result, calls, pace::Pace};
use aws_config::SdkConfig;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use serde_json::Value;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::sync::Mutex;

/// Tries of one call, the first included; as the SDKs are set.
const TRIES: u32 = 4;

/// A service whose API takes and gives JSON.
#[derive(Clone, Copy, Debug)]
struct Service {
    /// As errors, metrics and IAM call it.
    name: &'static str,
    /// As host names and signatures call it.
    signs_as: &'static str,
    /// What stands before the operation in the target's header.
    target: &'static str,
}

/// A client of one service in one region.
#[derive(Clone, Debug)]
pub struct JsonClient {
    service: Service,
    http: reqwest::Client,
    url: String,
    region: String,
    credentials: Option<SharedCredentialsProvider>,
    /// Those that were given last: each time they are asked for may be a call of its own.
    given: Arc<Mutex<Option<Credentials>>>,
    pace: Pace,
}

/// Credentials that end sooner than this are not used any more.
const ENDS_SOON: Duration = Duration::from_mins(2);

impl JsonClient {
    /// CloudWatch, with the settings of the SDKs, over these connections. Asks AWS nothing.
    pub(super) fn cloudwatch(config: &SdkConfig, http: reqwest::Client, pace: Pace) -> Self {
        let target = "GraniteServiceVersion20100801";
        Self::new(Service { name: "cloudwatch", signs_as: "monitoring", target }, config, http, pace)
    }

    /// CloudWatch's logs, likewise.
    pub(super) fn logs(config: &SdkConfig, http: reqwest::Client, pace: Pace) -> Self {
        Self::new(Service { name: "logs", signs_as: "logs", target: "Logs_20140328" }, config, http, pace)
    }

    fn new(service: Service, config: &SdkConfig, http: reqwest::Client, pace: Pace) -> Self {
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let own = || format!("https://{}.{region}.{domain}", service.signs_as);
        Self {
            service,
            http,
            url: config.endpoint_url().map_or_else(own, ToOwned::to_owned),
            credentials: config.credentials_provider(),
            given: Arc::default(),
            region,
            pace,
        }
    }

    /// One call. Calls that AWS was too busy for are repeated; all that are made here may be.
    pub async fn call(&self, operation: &str, body: &Value) -> Result<Value> {
        let mut wait = Duration::from_millis(200);
        for _ in 1..TRIES {
            match self.once(operation, body).await {
                Err(e) if matches!(e.reason, Reason::Throttled | Reason::Unreachable) => {
                    tokio::time::sleep(wait.mul_f64(rand::random())).await;
                    wait *= 2;
                }
                other => return other,
            }
        }
        self.once(operation, body).await
    }

    async fn identity(&self) -> Result<Credentials, String> {
        let mut given = self.given.lock().await;
        let lasts = |c: &Credentials| c.expiry().is_none_or(|end| end > SystemTime::now() + ENDS_SOON);
        if let Some(credentials) = given.as_ref().filter(|c| lasts(c)) {
            return Ok(credentials.clone());
        }
        let provider = self.credentials.as_ref().ok_or("no credentials")?;
        let credentials = provider.provide_credentials().await.map_err(|e| e.to_string())?;
        Ok(given.insert(credentials).clone())
    }

    async fn once(&self, operation: &str, body: &Value) -> Result<Value> {
        let fault = |code: &str, message: String| Error::answered(self.service.name, operation, code, message);
        let unreachable = |e: &dyn std::fmt::Display| fault("", e.to_string());
        let body = body.to_string();
        let target = format!("{}.{operation}", self.service.target);
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let identity = self.identity().await.map_err(|why| fault("CredentialsNotFound", why))?.into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.signs_as)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| Error::internal(e.to_string()))?;
        let signable =
            SignableRequest::new("POST", &self.url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
                .map_err(|e| Error::internal(e.to_string()))?;
        let (instructions, _) =
            sign(signable, &params.into()).map_err(|e| Error::internal(e.to_string()))?.into_parts();
        let mut request = self.http.post(&self.url).timeout(Duration::from_secs(30)).body(body);
        for (name, value) in
            headers.into_iter().chain(instructions.into_parts().0.iter().map(|h| (h.name(), h.value())))
        {
            request = request.header(name, value);
        }
        self.pace.turn().await;
        let begun = Instant::now();
        let note = |status: Option<u16>, refusal: Option<&str>| {
            calls::note(&self.pace, self.service.name, operation, status, refusal, begun.elapsed());
        };
        let answered = async {
            let answer = request.send().await?;
            Ok((answer.status(), answer.text().await?))
        };
        let (status, text) = answered.await.map_err(|e: reqwest::Error| {
            note(None, None);
            unreachable(&e)
        })?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            note(Some(status.as_u16()), None);
            return Ok(value);
        }
        let code = value["__type"].as_str().map_or("", |t| t.rsplit('#').next().unwrap_or(t));
        note(Some(status.as_u16()), Some(code));
        let message = value["message"].as_str().or(value["Message"].as_str()).unwrap_or(&text);
        if status.is_server_error() && code.is_empty() {
            Err(unreachable(&status))
        } else {
            Err(fault(code, message.to_owned()))
        }
    }
}
