//! Every call of AWS, counted by service and operation, timed, and its error codes counted; throttling slows its service down.

use super::pace::Pace;
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
        },
        orchestrator::{HttpResponse, Metadata},
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use metrics::Label;
use std::time::{Duration, Instant};

/// Counts attempts as `polybot_aws_calls_total` and those that AWS refused as `polybot_aws_errors_total`, times them as
/// `polybot_aws_call_seconds`, and tells the service's pace what came of them.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Pace);

#[derive(Debug)]
struct Begun(Instant);

impl Storable for Begun {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Counted {
    fn name(&self) -> &'static str {
        "counted"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(Begun(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, operation) =
            cfg.load::<Metadata>().map_or_else(Default::default, |m| (m.service().to_lowercase(), m.name().to_owned()));
        let response = context.response();
        let status = response.map(|r| r.status().as_u16());
        let refusal = response.filter(|r| !r.status().is_success()).map(code);
        let took = cfg.load::<Begun>().map_or(Duration::ZERO, |Begun(begun)| begun.elapsed());
        note(&self.0, &service, &operation, status, refusal.as_deref(), took);
        Ok(())
    }
}

/// Notes one attempt of a call: the HTTP status of the answer, if there was one, and the code of a refusal.
pub(super) fn note(
    pace: &Pace,
    service: &str,
    operation: &str,
    status: Option<u16>,
    refusal: Option<&str>,
    took: Duration,
) {
    let label = |name: &'static str, value: &str| Label::new(name, value.to_owned());
    let call = [label("service", service), label("operation", operation)];
    match refusal {
        Some(code) if super::error::throttles(code) => pace.throttled(),
        _ => pace.answered(),
    }
    metrics::histogram!("polybot_aws_call_seconds", vec![call[0].clone()]).record(took);
    let with = |last: Label| call.iter().cloned().chain([last]).collect::<Vec<_>>();
    if refusal.is_some() || status.is_none() {
        metrics::counter!("polybot_aws_errors_total", with(label("code", refusal.unwrap_or("none")))).increment(1);
    }
    let status = status.map_or_else(|| "none".to_owned(), |status| status.to_string());
    metrics::counter!("polybot_aws_calls_total", with(label("status", &status))).increment(1);
}

/// The code of a refusal, wherever the service's protocol puts it: a header, a field of JSON, an element of XML.
fn code(response: &HttpResponse) -> String {
    let header = response.headers().get("x-amzn-errortype").or_else(|| response.headers().get("x-amzn-query-error"));
    let body = response.body().bytes().map(String::from_utf8_lossy).unwrap_or_default();
    let between = |from: &str, to: char| body.split_once(from)?.1.split(to).next();
    let code = between("<Code>", '<').or(header).or_else(|| between("\"__type\":", ',')).unwrap_or("unknown");
    // `com.amazonaws.sqs#QueueDoesNotExist`, `AccessDenied:http://internal…`, `AWS.SimpleQueueService.NonExistentQueue;Sender`.
    let code = code.trim_matches(|c: char| c == '"' || c == '}' || c.is_whitespace());
    code.rsplit('#').next().unwrap_or(code).split([':', ';']).next().unwrap_or(code).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::body::SdkBody;

    #[test]
    fn a_code_is_found_wherever_the_protocol_puts_it() {
        let of = |header: Option<&'static str>, body: &str| {
            let status = 400.try_into().unwrap();
            let mut response = HttpResponse::new(status, SdkBody::from(body));
            if let Some(header) = header {
                response.headers_mut().insert("x-amzn-errortype", header);
            }
            code(&response)
        };
        assert_eq!(of(None, "<Response><Errors><Error><Code>VpcLimitExceeded</Code>"), "VpcLimitExceeded");
        assert_eq!(
            of(None, r#"{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": ""}"#),
            "QueueDoesNotExist"
        );
        assert_eq!(of(None, r#"{"message": "no", "__type": "AccessDeniedException"}"#), "AccessDeniedException");
        assert_eq!(of(Some("ThrottlingException:http://internal.amazon.com/"), "{}"), "ThrottlingException");
        assert_eq!(of(None, ""), "unknown");
    }
}
