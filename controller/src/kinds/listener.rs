//! The port that the load balancer answers on, with its certificate. One certificate and one rule, and nothing beside them.

use super::{Arn, gone, load_balancer::edge};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View},
    engine::{Change, How, Input, Live, Resource, Slot, Tags, differs},
    sdk_tags,
};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, Listener as ElbListener, ProtocolEnum, Rule,
};
use futures::future::try_join_all;
use std::collections::BTreeSet;

/// An HTTPS listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The load balancer.
    pub load_balancer: Input<Arn>,
    /// Its port.
    pub port: i32,
    /// `HTTPS`; anything else is a difference.
    pub protocol: String,
    /// The certificate it shows.
    pub certificate: Input<Arn>,
    /// The TLS policy: which versions and ciphers.
    pub tls_policy: String,
    /// Where requests go.
    pub target_group: Input<Arn>,
    /// Certificates beside the one; none are wanted.
    pub extra_certificates: BTreeSet<String>,
    /// Rules beside the default one, by ARN; none are wanted.
    pub extra_rules: BTreeSet<String>,
}

impl Resource for Listener {
    const KIND: &'static str = "listener";
    type Output = Arn;

    fn inputs(&mut self) -> Vec<&mut dyn Slot> {
        vec![&mut self.load_balancer, &mut self.certificate, &mut self.target_group]
    }

    fn changes(&self, live: &Self) -> Vec<Change> {
        let Self {
            load_balancer,
            port,
            protocol,
            certificate,
            tls_policy,
            target_group,
            extra_certificates,
            extra_rules,
        } = self;
        [
            differs("load_balancer", load_balancer, &live.load_balancer, How::CreateFirst),
            differs("port", port, &live.port, How::InPlace),
            differs("protocol", protocol, &live.protocol, How::InPlace),
            differs("certificate", certificate, &live.certificate, How::InPlace),
            differs("tls_policy", tls_policy, &live.tls_policy, How::InPlace),
            differs("target_group", target_group, &live.target_group, How::InPlace),
            differs("extra_certificates", extra_certificates, &live.extra_certificates, How::InPlace),
            differs("extra_rules", extra_rules, &live.extra_rules, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let edge = edge(view).await?;
        let ours = edge.balancers.iter().filter(|(_, tags)| view.ownership.owns(tags));
        let ours: BTreeSet<_> = ours.filter_map(|(b, _)| b.load_balancer_arn()).collect();
        let listeners = edge.listeners.iter().filter(|(l, _)| l.load_balancer_arn().is_some_and(|b| ours.contains(b)));
        try_join_all(listeners.map(|(l, tags)| read(view, l, tags.clone()))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<Arn> {
        let call = aws.elb.create_listener().load_balancer_arn(&self.load_balancer.get()?.0).port(self.port);
        let call = call.protocol(ProtocolEnum::Https).ssl_policy(&self.tls_policy).certificates(self.shown()?);
        let call =
            call.default_actions(self.forward()?).set_tags(Some(sdk_tags!(aws_sdk_elasticloadbalancingv2, tags)));
        let made = call.send().await?.listeners.unwrap_or_default().into_iter().next();
        Ok(Arn(made.and_then(|l| l.listener_arn).unwrap_or_default()))
    }

    async fn update(&self, aws: &Aws, live: &Live<Self>, changes: &[Change]) -> Result<Arn> {
        let arn = &live.output.0;
        let of = |fields: &[&str]| changes.iter().any(|c| fields.contains(&c.field));
        if of(&["port", "protocol", "certificate", "tls_policy", "target_group"]) {
            // The call replaces whole lists, so it always carries all of them.
            let call = aws.elb.modify_listener().listener_arn(arn).port(self.port).protocol(ProtocolEnum::Https);
            let call = call.ssl_policy(&self.tls_policy).certificates(self.shown()?).default_actions(self.forward()?);
            call.send().await?;
        }
        if of(&["extra_certificates"]) {
            let extra: Vec<_> = live
                .state
                .extra_certificates
                .iter()
                .map(|arn| Certificate::builder().certificate_arn(arn).build())
                .collect();
            gone(aws.elb.remove_listener_certificates().listener_arn(arn).set_certificates(Some(extra)).send().await)?;
        }
        if of(&["extra_rules"]) {
            for rule in &live.state.extra_rules {
                gone(aws.elb.delete_rule().rule_arn(rule).send().await)?;
            }
        }
        Ok(live.output.clone())
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.elb.delete_listener().listener_arn(&live.output.0).send().await)
    }

    fn keys(arn: &Arn) -> Vec<String> {
        vec![arn.0.clone()]
    }

    fn tag_target(arn: &Arn) -> Option<TagTarget> {
        Some(TagTarget::Elb(arn.0.clone()))
    }
}

impl Listener {
    fn shown(&self) -> Result<Certificate> {
        Ok(Certificate::builder().certificate_arn(&self.certificate.get()?.0).build())
    }
    fn forward(&self) -> Result<Action> {
        let action = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&self.target_group.get()?.0);
        Ok(action.build())
    }
}

/// What else a listener has.
struct Beside {
    certificates: Vec<Certificate>,
    rules: Vec<Rule>,
}

async fn read(view: &View, listener: &ElbListener, tags: Tags) -> Result<Live<Listener>> {
    let arn = Arn::from(listener.listener_arn().unwrap_or_default());
    let read = || async {
        let (certificates, rules) = futures::join!(
            view.elb.describe_listener_certificates().listener_arn(&arn.0).send(),
            view.elb.describe_rules().listener_arn(&arn.0).send()
        );
        let certificates = match certificates.map_err(Error::from) {
            Ok(c) => c.certificates.unwrap_or_default(),
            // A listener without TLS has no certificates to ask for.
            Err(_) if listener.protocol() != Some(&ProtocolEnum::Https) => vec![],
            Err(e) => return Err(e),
        };
        Ok(Beside { certificates, rules: rules?.rules.unwrap_or_default() })
    };
    let beside = view.detail(&arn.0, read).await?;
    let shown = listener.certificates().first().and_then(|c| c.certificate_arn()).unwrap_or_default();
    let extra = beside
        .certificates
        .iter()
        .filter(|c| c.is_default != Some(true))
        .filter_map(|c| c.certificate_arn.clone())
        .filter(|arn| arn != shown);
    let target = listener.default_actions().iter().find_map(|a| {
        let of_forward =
            || a.forward_config().and_then(|f| f.target_groups().first()).and_then(|t| t.target_group_arn());
        a.target_group_arn().or_else(of_forward)
    });
    let port = listener.port().unwrap_or_default();
    // A listener is ours if its load balancer is; one without our mark goes by its port.
    let fallback = port.to_string();
    let (_, name) = view.ownership.of(Listener::KIND, &tags, &fallback);
    let state = Listener {
        load_balancer: Input::Known(listener.load_balancer_arn().unwrap_or_default().into()),
        port,
        protocol: listener.protocol().map(ToString::to_string).unwrap_or_default(),
        certificate: Input::Known(shown.into()),
        tls_policy: listener.ssl_policy().unwrap_or_default().to_owned(),
        target_group: Input::Known(target.unwrap_or_default().into()),
        extra_certificates: extra.collect(),
        extra_rules: beside
            .rules
            .iter()
            .filter(|r| r.is_default() != Some(true))
            .filter_map(|r| r.rule_arn().map(ToOwned::to_owned))
            .collect(),
    };
    let id = format!("port {port}");
    Ok(Live { tags: Some(tags), ..Live::ready(name, id, state, arn) })
}
