//! What the stack needs to know of the world outside it: account, zones, images, the token. Reads only. Each fact may be
//! absent by itself; what depends on it then waits, and the rest goes on.

use crate::{
    aws::{self, Aws, Error, View},
    kinds::{
        launch_template_version::{Ubuntu, containers},
        subnet::Subnet,
        webhook,
    },
    secret::Secret,
    spec::{PolybotStack, pattern::Pattern},
    stack::{self, Service},
};
use std::collections::{BTreeMap, BTreeSet};
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
    /// A tag of each image that a service runs, is to run, or may go back to.
    pub pins: BTreeMap<Service, Fact<BTreeSet<String>>>,
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
            images(spec, aws, Service::Polybot),
            images(spec, aws, Service::Yolo5),
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
            images: BTreeMap::from([(Service::Polybot, polybot.0), (Service::Yolo5, yolo5.0)]),
            pins: BTreeMap::from([(Service::Polybot, polybot.1), (Service::Yolo5, yolo5.1)]),
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
            pins: BTreeMap::from([Service::Polybot, Service::Yolo5].map(|s| (s, Ok(BTreeSet::new())))),
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

/// A service's image, and the tags that must stay in its repository; by one list of what is there.
async fn images(spec: &PolybotStack, view: &View, service: Service) -> (Fact<String>, Fact<BTreeSet<String>>) {
    let wish = match stack::image(spec, service) {
        Ok(wish) => wish,
        Err(why) => return (Err(why.clone()), Err(why)),
    };
    let repository = stack::repository(spec, &view.account, service);
    let (stored, running) = futures::join!(stored(view, &repository), containers(view, service.name()));
    let stored = stored.map_err(|e| e.to_string());
    let image = image(view, service, &repository, wish, &stored);
    let wanted = image.as_ref().ok().and_then(|uri| Some(uri.split_once('@')?.1.to_owned()));
    let pins = stored.and_then(|stored| {
        let digests = running.map_err(|e| e.to_string())?.into_iter().chain(wanted);
        Ok(digests.filter_map(|digest| stored.get(&digest)?.iter().next().cloned()).collect())
    });
    (image, pins)
}

/// The images in a repository: tags by digest. A repository that is not there has none.
pub async fn stored(aws: &Aws, repository: &str) -> aws::Result<BTreeMap<String, BTreeSet<String>>> {
    let call = aws.ecr.describe_images().repository_name(repository).max_results(1000);
    let images: Vec<_> = match call.into_paginator().items().send().collect::<Result<_, _>>().await.map_err(Error::from)
    {
        Ok(images) => images,
        Err(e) if e.is_not_found() => vec![],
        Err(e) => return Err(e),
    };
    let one = |i: aws_sdk_ecr::types::ImageDetail| {
        Some((i.image_digest?, i.image_tags.unwrap_or_default().into_iter().collect::<BTreeSet<_>>()))
    };
    Ok(images.into_iter().filter_map(one).collect())
}

/// Resolves an image to a digest through the registry, so that what runs is what was reviewed.
fn image(
    aws: &Aws,
    service: Service,
    repository: &str,
    wish: stack::Image,
    stored: &Fact<BTreeMap<String, BTreeSet<String>>>,
) -> Fact<String> {
    let host = stack::registry(&aws.account, &aws.region);
    let push = |tag: &str| {
        // Without a word about the model the image has none, and its workers never get ready.
        let (before, model) = match service {
            Service::Polybot => ("", ""),
            Service::Yolo5 => ("make model && ", " MODEL=yolo5/model"),
        };
        format!(
            "push it: {before}make images TARGETS={service} VERSION={tag}{model} \
             && aws ecr get-login-password --region {region} | docker login --username AWS --password-stdin {host} \
             && docker tag localhost/{service}:{tag} {host}/{repository}:{tag} && docker push {host}/{repository}:{tag}",
            region = aws.region,
            service = service.name(),
        )
    };
    let images = || stored.as_ref().map_err(Clone::clone);
    let digest = match wish {
        stack::Image::Exact(uri) => return Ok(uri),
        stack::Image::Digest(digest) if images()?.contains_key(&digest) => digest,
        stack::Image::Digest(digest) => {
            return Err(format!("no image {repository}@{digest} in the registry; push it, or give another digest"));
        }
        stack::Image::Tag(tag) => {
            let images = images()?;
            let by_tag: BTreeMap<&str, &String> =
                images.iter().flat_map(|(digest, tags)| tags.iter().map(move |t| (t.as_str(), digest))).collect();
            let found = if Pattern::is_meant(&tag) {
                let wanted: Pattern = tag.parse()?;
                let newest = wanted.newest(by_tag.keys().copied()).and_then(|tag| by_tag.get(tag));
                newest.ok_or_else(|| {
                    let push = push(&tag.replace('*', "0.0"));
                    format!("no image in {repository} has a tag like {tag} yet; {push}")
                })
            } else {
                let push = push(&tag);
                by_tag.get(&*tag).ok_or_else(|| format!("no image {repository}:{tag} in the registry yet; {push}"))
            };
            (*found?).clone()
        }
    };
    Ok(format!("{host}/{repository}@{digest}"))
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
