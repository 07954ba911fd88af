//! CloudWatch and its logs, as far as alarms and log groups need them: signed calls of the JSON form of their APIs
//! (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/>,
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/>). The SDK of the first speaks CBOR, and would bring a
//! second HTTP stack, an encoder and big decimals for five calls; that of the second is large for seven.

use super::{Error, Reason, Result};
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use serde_json::Value;
use std::time::{Duration, SystemTime};

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
}

impl JsonClient {
    /// CloudWatch, with the settings of the SDKs, over these connections. Asks AWS nothing.
    pub fn cloudwatch(config: &SdkConfig, http: reqwest::Client) -> Self {
        let target = "GraniteServiceVersion20100801";
        Self::new(Service { name: "cloudwatch", signs_as: "monitoring", target }, config, http)
    }

    /// CloudWatch's logs, likewise.
    pub fn logs(config: &SdkConfig, http: reqwest::Client) -> Self {
        Self::new(Service { name: "logs", signs_as: "logs", target: "Logs_20140328" }, config, http)
    }

    fn new(service: Service, config: &SdkConfig, http: reqwest::Client) -> Self {
        let region = config.region().map(ToString::to_string).unwrap_or_default();
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let own = || format!("https://{}.{region}.{domain}", service.signs_as);
        Self {
            service,
            http,
            url: config.endpoint_url().map_or_else(own, ToOwned::to_owned),
            credentials: config.credentials_provider(),
            region,
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

    async fn once(&self, operation: &str, body: &Value) -> Result<Value> {
        let fault = |code: &str, message: String| Error::answered(self.service.name, operation, code, message);
        let unreachable = |e: &dyn std::fmt::Display| fault("", e.to_string());
        let body = body.to_string();
        let target = format!("{}.{operation}", self.service.target);
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target.as_str())];
        let provider =
            self.credentials.as_ref().ok_or_else(|| fault("CredentialsNotFound", "no credentials".into()))?;
        let credentials =
            provider.provide_credentials().await.map_err(|e| fault("CredentialsNotFound", e.to_string()))?;
        let identity = credentials.into();
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
        let answer = request.send().await.map_err(|e| unreachable(&e))?;
        let status = answer.status();
        let labels = [
            ("service", self.service.name.to_owned()),
            ("operation", operation.to_owned()),
            ("status", status.as_u16().to_string()),
        ];
        metrics::counter!("polybot_aws_calls_total", &labels).increment(1);
        let text = answer.text().await.map_err(|e| unreachable(&e))?;
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(value);
        }
        let code = value["__type"].as_str().map_or("", |t| t.rsplit('#').next().unwrap_or(t));
        let message = value["message"].as_str().or(value["Message"].as_str()).unwrap_or(&text);
        if status.is_server_error() && code.is_empty() {
            Err(unreachable(&status))
        } else {
            Err(fault(code, message.to_owned()))
        }
    }
}
