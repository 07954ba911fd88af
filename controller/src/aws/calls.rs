//! Every call of AWS, counted and timed by service and operation.

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
        },
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use std::time::Instant;

/// Counts calls as `polybot_aws_calls_total` and times them as `polybot_aws_call_seconds`.
#[derive(Debug)]
pub(super) struct Counted;

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

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let (service, operation) =
            cfg.load::<Metadata>().map_or_else(Default::default, |m| (m.service().to_lowercase(), m.name().to_owned()));
        let status = context.response().map_or_else(|| "none".to_owned(), |r| r.status().as_u16().to_string());
        if let Some(Begun(begun)) = cfg.load::<Begun>() {
            metrics::histogram!("polybot_aws_call_seconds", "service" => service.clone()).record(begun.elapsed());
        }
        metrics::counter!("polybot_aws_calls_total", "service" => service, "operation" => operation, "status" => status)
            .increment(1);
        Ok(())
    }
}
