//! The whole stack, read top to bottom: what a spec stands for. Pure: time, account, images and the token come in as facts.

pub mod policy;
pub mod user_data;

use crate::{
    aws::KnownNames,
    engine::{Address, Found, Input, Owner, Plan, Wanted},
    facts::{Fact, Facts},
    kinds::{queue::Queue, vpc::Vpc},
    reconcile::Connection,
    spec::{DataPolicy, ImageRef, PolybotStack, names::Names},
};
use clap::ValueEnum;
use contract::env;

/// The two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Service {
    /// The bot.
    Polybot,
    /// The detector.
    Yolo5,
}

impl Service {
    /// Its name in addresses and names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Polybot => "polybot",
            Self::Yolo5 => "yolo5",
        }
    }
}

/// The physical names of a stack.
pub fn names(stack: &PolybotStack, account: &str) -> Names {
    Names::new(&stack.spec, account)
}

/// The names that AWS cannot list by tag or prefix.
pub fn known_names(stack: &PolybotStack, account: &str) -> KnownNames {
    let names = names(stack, account);
    KnownNames {
        secrets: vec![
            ("telegram-token".to_owned(), names.plain("telegram-token", 255)),
            ("certificate".to_owned(), names.plain("certificate", 255)),
        ],
        hosted_zone: stack.spec.domain.hosted_zone.trim_end_matches('.').to_owned(),
        bucket: names.bucket("images"),
        topic: names.plain("scaling", 256),
    }
}

/// Whether the spec lets data at this address go.
pub fn purges(stack: &PolybotStack, address: &Address) -> bool {
    let on_delete = &stack.spec.on_delete;
    on_delete.addresses.get(&address.to_string()).unwrap_or(&on_delete.data) == &DataPolicy::Purge
}

/// Host of the account's image registry in a region.
pub fn registry(account: &str, region: &str) -> String {
    format!("{account}.dkr.ecr.{region}.amazonaws.com")
}

/// A service's container image, as far as the spec says it.
pub enum Image {
    /// To be used as it is.
    Exact(String),
    /// To be resolved by the registry.
    Tag {
        /// Physical name of the repository.
        repository: String,
        /// Tag.
        tag: String,
    },
}

/// Which image the spec wants for a service.
pub fn image(stack: &PolybotStack, account: &str, service: Service) -> Fact<Image> {
    let names = names(stack, account);
    let spec = &stack.spec;
    let wish: &ImageRef = match service {
        Service::Polybot => &spec.polybot.image,
        Service::Yolo5 => &spec.yolo5.as_ref().ok_or_else(|| "the spec has no yolo5".to_owned())?.image,
    };
    if let Some(uri) = &wish.uri {
        return Ok(Image::Exact(uri.clone()));
    }
    let repository = names.plain(wish.repository.as_deref().unwrap_or(service.name()), 256);
    match (&wish.digest, &wish.tag) {
        (Some(digest), _) => {
            Ok(Image::Exact(format!("{}/{repository}@{digest}", registry(account, spec.region.as_str()))))
        }
        (None, Some(tag)) => Ok(Image::Tag { repository, tag: tag.clone() }),
        (None, None) => Err(format!("the spec gives neither tag nor digest for the image of {}", service.name())),
    }
}

/// The whole stack.
pub fn stack(stack: &PolybotStack, facts: &Facts) -> Wanted {
    let mut w = Wanted::default();
    let spec = &stack.spec;
    let names = names(stack, &facts.account);
    w.add("main", Vpc { cidr: spec.network.cidr.to_string(), dns: true, default_group_rules: vec![] });
    for (name, q) in [("identify", &spec.queues.identify), ("results", &spec.queues.results), ("work", &spec.queues.work)] {
        let dead_name = names.plain(&format!("{name}-dead"), 80);
        let queue_name = names.plain(name, 80);
        let arn = |n: &str| format!("arn:aws:sqs:{}:{}:{n}", spec.region, facts.account);
        let dead = w.add(
            format!("{name}-dead"),
            Queue {
                visibility_timeout: 30,
                retention: 1_209_600,
                dead_letters: None,
                max_receives: 0,
                encrypted: true,
                policy: policy::queue(&arn(&dead_name)),
                name: dead_name,
            },
        );
        w.add(
            name,
            Queue {
                visibility_timeout: q.visibility_timeout.as_seconds(),
                retention: q.retention.as_seconds(),
                dead_letters: Some(dead.out(|o| o.arn.clone())),
                max_receives: q.max_receives,
                encrypted: true,
                policy: policy::queue(&arn(&queue_name)),
                name: queue_name,
            },
        );
    }
    w
}

/// The variables of a service, as its instances get them.
pub fn environment(connection: &Connection, plan: &Plan, service: Service) -> Vec<(&'static str, String)> {
    let _ = (connection, plan, service, env::AWS_REGION);
    vec![]
}

/// What the stack offers to people and programs.
pub fn outputs(connection: &Connection, plan: &Plan) -> Vec<(String, serde_json::Value)> {
    let _ = (connection, plan);
    vec![]
}
