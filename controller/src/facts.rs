//! What the stack needs to know of the world outside it: account, zones, images, the token. Reads only. Each fact may be
//! absent by itself; what depends on it then waits, and the rest goes on.

use crate::{
    aws::{self, Aws, Error, View},
    kinds::{launch_template_version::Ubuntu, subnet::Subnet, webhook},
    secret::Secret,
    spec::{PolybotStack, pattern::Pattern},
    stack::{self, Service},
};
use aws_sdk_ecr::types::{DescribeImagesFilter, ImageIdentifier, TagStatus};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// A fact, or why it is not to be had and how to mend that.
pub type Fact<T> = Result<T, String>;

/// What the stack needs to know of the world outside it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Account of the credentials.
    pub account: String,
    /// The time of this pass.
    pub now: OffsetDateTime,
    /// A zone for each subnet that the stack has or may have, in the order of their names.
    pub zones: Fact<Vec<String>>,
    /// Ubuntu's current image.
    pub ami: Fact<String>,
    /// Each service's container image by digest.
    pub images: BTreeMap<Service, Fact<String>>,
    /// The bot's token.
    pub token: Fact<Secret<String>>,
    /// Whether Telegram answers.
    pub telegram: Fact<()>,
}

impl Facts {
    /// Asks AWS.
    pub async fn gather(spec: &PolybotStack, aws: &View) -> Self {
        let (zones, ami, polybot, yolo5, telegram) = futures::join!(
            zones(spec, aws),
            ami(aws),
            image(spec, aws, Service::Polybot),
            image(spec, aws, Service::Yolo5),
            webhook::ask(aws)
        );
        let token = match &aws.telegram {
            Some(telegram) => telegram.token.clone(),
            None => Err("no token".to_owned()),
        };
        Self {
            account: aws.account.clone(),
            now: OffsetDateTime::now_utc(),
            zones,
            ami,
            images: BTreeMap::from([(Service::Polybot, polybot), (Service::Yolo5, yolo5)]),
            token,
            telegram: telegram.0.as_ref().map(|_| ()).map_err(Clone::clone),
        }
    }

    /// Facts for a picture of the stack without AWS.
    pub fn assumed(spec: &PolybotStack) -> Self {
        let account = spec.spec.account_id.as_ref().map_or_else(|| "123456789012".to_owned(), ToString::to_string);
        let absent = || Err("not asked".to_owned());
        Self {
            account,
            now: OffsetDateTime::UNIX_EPOCH,
            zones: Ok(["a", "b", "c", "d", "e", "f"].iter().map(|z| format!("{}{z}", spec.spec.region)).collect()),
            ami: absent(),
            images: BTreeMap::from([(Service::Polybot, absent()), (Service::Yolo5, absent())]),
            token: Err("not asked".to_owned()),
            telegram: Err("not asked".to_owned()),
        }
    }
}

/// The zones that the stack's subnets are in, and for those that are to come the region's others in order. So the region's
/// list moves nothing: a zone that fails drops out of it for a while, and new ones come in.
async fn zones(spec: &PolybotStack, view: &View) -> Fact<Vec<String>> {
    let network = &spec.spec.network;
    let wanted = if network.zone_names.is_empty() { network.zones as usize } else { 0 };
    let taken = Subnet::zones(view).await.map_err(|e| e.to_string())?;
    let mut zones: Vec<Option<String>> = vec![];
    for name in stack::subnet_names(wanted) {
        // A load balancer needs its subnets in zones of their own.
        zones.push(taken.get(&name).cloned().filter(|zone| !zones.contains(&Some(zone.clone()))));
    }
    if zones.iter().all(Option::is_some) {
        return Ok(zones.into_iter().flatten().collect());
    }
    let all = available_zones(view).await?;
    let mut free = all.into_iter().filter(|z| !zones.contains(&Some(z.clone()))).collect::<Vec<_>>().into_iter();
    Ok(zones.into_iter().map_while(|z| z.or_else(|| free.next())).collect())
}

async fn available_zones(aws: &Aws) -> Fact<Vec<String>> {
    let zones = aws
        .ec2
        .describe_availability_zones()
        .filters(crate::kinds::filter("state", "available"))
        .filters(crate::kinds::filter("zone-type", "availability-zone"))
        .send()
        .await
        .map_err(|e| Error::from(e).to_string())?;
    let mut names: Vec<String> =
        zones.availability_zones().iter().filter_map(|z| z.zone_name().map(ToOwned::to_owned)).collect();
    names.sort();
    Ok(names)
}

async fn ami(view: &View) -> Fact<String> {
    Ubuntu::read(view).await.map_err(|e| e.to_string())?.0.clone()
}

/// Resolves an image to a digest through the registry, so that what runs is what was reviewed.
async fn image(spec: &PolybotStack, aws: &Aws, service: Service) -> Fact<String> {
    let wish = stack::image(spec, &aws.account, service)?;
    let tag = match wish {
        stack::Image::Exact(uri) => return Ok(uri),
        stack::Image::Tag { repository, tag } => (repository, tag),
    };
    let (repository, tag) = tag;
    let host = stack::registry(&aws.account, &aws.region);
    let push = format!(
        "push it: aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {host} \
         && docker push {host}/{repository}:{tag}",
        region = aws.region
    );
    if Pattern::is_meant(&tag) {
        return newest(aws, &host, &repository, &tag, &push).await;
    }
    let id = ImageIdentifier::builder().image_tag(&tag).build();
    match aws.ecr.describe_images().repository_name(&repository).image_ids(id).send().await {
        Ok(found) => found
            .image_details()
            .first()
            .and_then(|d| d.image_digest())
            .map(|digest| format!("{host}/{repository}@{digest}"))
            .ok_or_else(|| format!("no image {repository}:{tag}; {push}")),
        Err(e) => match Error::from(e) {
            e if e.is_not_found() => Err(format!("no image {repository}:{tag} in the registry yet; {push}")),
            e => Err(e.to_string()),
        },
    }
}

/// The newest image whose tag matches a pattern.
async fn newest(aws: &Aws, host: &str, repository: &str, pattern: &str, push: &str) -> Fact<String> {
    let wanted: Pattern = pattern.parse()?;
    let tagged = DescribeImagesFilter::builder().tag_status(TagStatus::Tagged).build();
    let call = aws.ecr.describe_images().repository_name(repository).filter(tagged).max_results(1000);
    let images: Vec<_> = match call.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(Error::from)
    {
        Ok(images) => images,
        Err(e) if e.is_not_found() => vec![],
        Err(e) => return Err(e.to_string()),
    };
    let by_tag: BTreeMap<&str, &str> = images
        .iter()
        .flat_map(|i| i.image_tags().iter().filter_map(|t| Some((t.as_str(), i.image_digest()?))))
        .collect();
    let digest = wanted.newest(by_tag.keys().copied()).and_then(|tag| by_tag.get(tag));
    digest
        .map(|digest| format!("{host}/{repository}@{digest}"))
        .ok_or_else(|| format!("no image in {repository} has a tag like {pattern} yet; {}", push.replace('*', "0.0")))
}

/// The bot's token from where the spec says it is. The value is in no error.
pub async fn token(spec: &PolybotStack, secrets: &aws_sdk_secretsmanager::Client) -> Fact<Secret<String>> {
    let source = &spec.spec.telegram.token;
    let token = if let Some(name) = &source.env {
        std::env::var(name)
            .map_err(|_| format!("the environment variable {name} is not set; export {name}=<token from @BotFather>"))?
    } else if let Some(path) = &source.file {
        std::fs::read_to_string(path).map_err(|e| format!("the token file {path} cannot be read: {e}"))?
    } else if let Some(name) = &source.secret {
        let got = secrets
            .get_secret_value()
            .secret_id(name)
            .send()
            .await
            .map_err(|e| format!("the secret {name} cannot be read: {}", aws::Error::from(e)))?;
        let text = got.secret_string.unwrap_or_default();
        // The secret may hold the bare token or the JSON that the services read.
        serde_json::from_str::<BTreeMap<String, String>>(&text)
            .ok()
            .and_then(|mut fields| fields.remove(contract::env::TELEGRAM_TOKEN))
            .unwrap_or(text)
    } else {
        return Err("the token comes from a Kubernetes Secret, which only the operator can read".to_owned());
    };
    well_formed(&token)
}

/// A token as @BotFather gives them; anything else is a mistake that Telegram would answer with 404 later.
pub fn well_formed(text: &str) -> Fact<Secret<String>> {
    let token = text.trim().to_owned();
    // 123456:ABC…
    let well_formed = token
        .split_once(':')
        .is_some_and(|(id, key)| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) && key.len() >= 20);
    if well_formed {
        Ok(Secret::new(token))
    } else {
        Err("the token is none that @BotFather gives (digits, a colon, 35 characters)".to_owned())
    }
}
