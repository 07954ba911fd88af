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
use std::time::Instant;

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
        let status = response.map_or_else(|| "none".to_owned(), |r| r.status().as_u16().to_string());
        match response.filter(|r| !r.status().is_success()).map(code) {
            Some(code) if super::error::throttles(&code) => self.0.throttled(),
            _ => self.0.answered(),
        }
        if let Some(Begun(begun)) = cfg.load::<Begun>() {
            metrics::histogram!("polybot_aws_call_seconds", "service" => service.clone()).record(begun.elapsed());
        }
        if !response.is_some_and(|r| r.status().is_success()) {
            let (code, service) = (response.map_or_else(|| "none".to_owned(), code), service.clone());
            let labels = [("service", service), ("operation", operation.clone()), ("code", code)];
            metrics::counter!("polybot_aws_errors_total", &labels).increment(1);
        }
        metrics::counter!("polybot_aws_calls_total", "service" => service, "operation" => operation, "status" => status)
            .increment(1);
        Ok(())
    }
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
