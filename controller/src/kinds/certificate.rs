//! The self-signed certificate, made here and imported to ACM. The private key exists in memory for the length of one call and
//! in ACM, and nowhere else. A new one goes under the same ARN, so nothing that uses it has to change.

use super::{Arn, gone};
use crate::{
    aws::{Aws, Error, Result, TagTarget, View, tags},
    engine::{Change, How, Live, Resource, Tags, differs, differs_as},
    sdk_tags,
};
use aws_sdk_acm::{
    primitives::Blob,
    types::{CertificateSummary, CertificateType, Filters, KeyAlgorithm},
};
use futures::future::try_join_all;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, RsaKeySize};
use std::{collections::BTreeMap, sync::Arc};
use time::{Duration, OffsetDateTime};
use x509_parser::pem::parse_x509_pem;

/// A self-signed certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// Host name: common name and the one alternative name. Telegram compares it with the webhook's host.
    pub host: String,
    /// The rest of the subject by its short names: C, ST, L, O.
    pub subject: BTreeMap<String, String>,
    /// Key algorithm; `RSA_2048`, which every client takes.
    pub key: String,
    /// Days from making to end.
    pub valid_days: u32,
    /// Wanted: the time until which it must last, or a new one is made. Live: the time it lasts until.
    pub until: OffsetDateTime,
}

/// What a certificate offers to others.
#[derive(Clone, Debug)]
pub struct CertificateOut {
    /// Its ARN; stays the same when the certificate is renewed.
    pub arn: Arn,
    /// The public certificate; another one after a renewal.
    pub pem: String,
}

const KEY: &str = "RSA_2048";

impl Resource for Certificate {
    const KIND: &'static str = "certificate";
    type Output = CertificateOut;

    fn changes(&self, live: &Self) -> Vec<Change> {
        // How long the next one will last says nothing about the one that is there.
        let Self { host, subject, key, valid_days: _, until } = self;
        let mut changes: Vec<_> = [
            differs("host", host, &live.host, How::InPlace),
            differs("subject", subject, &live.subject, How::InPlace),
            differs("key", key, &live.key, How::InPlace),
        ]
        .into_iter()
        .flatten()
        .collect();
        if live.until < *until {
            let day = |t: OffsetDateTime| t.date().to_string();
            let change = differs_as("until", day(live.until), "a new one, since it ends soon", How::InPlace);
            changes.push(Change { due: true, ..change });
        }
        changes.into_iter().map(|c| Change { alters_output: true, ..c }).collect()
    }

    fn intent(&self) -> String {
        format!("{} {:?} {} {}", self.host, self.subject, self.key, self.valid_days)
    }

    async fn list(view: &View) -> Result<Vec<Live<Self>>> {
        let all = Imported::read(view).await?;
        let ours = all.0.iter().filter(|(_, tags)| view.ownership.owns(tags));
        try_join_all(ours.map(|(summary, tags)| read(view, summary, tags.clone()))).await
    }

    async fn create(&self, aws: &Aws, tags: &Tags) -> Result<CertificateOut> {
        let made = self.make().await?;
        let call = aws.acm.import_certificate().certificate(Blob::new(made.pem.as_bytes()));
        let call =
            call.private_key(Blob::new(made.key.as_bytes())).set_tags(Some(sdk_tags!(aws_sdk_acm, tags, fallible)));
        let imported = call.send().await?;
        Ok(CertificateOut { arn: Arn(imported.certificate_arn.unwrap_or_default()), pem: made.pem })
    }

    /// Tags are not allowed when importing under an ARN that exists; they stay as they are.
    async fn update(&self, aws: &Aws, live: &Live<Self>, _: &[Change]) -> Result<CertificateOut> {
        let made = self.make().await?;
        let call = aws.acm.import_certificate().certificate_arn(&live.output.arn.0);
        let call = call.certificate(Blob::new(made.pem.as_bytes())).private_key(Blob::new(made.key.as_bytes()));
        call.send().await?;
        Ok(CertificateOut { arn: live.output.arn.clone(), pem: made.pem })
    }

    async fn delete(aws: &Aws, live: &Live<Self>) -> Result<()> {
        gone(aws.acm.delete_certificate().certificate_arn(&live.output.arn.0).send().await)
    }

    fn keys(output: &CertificateOut) -> Vec<String> {
        vec![output.arn.0.clone()]
    }

    fn tag_target(output: &CertificateOut) -> Option<TagTarget> {
        Some(TagTarget::Certificate(output.arn.0.clone()))
    }
}

/// A fresh certificate and its key. No `Debug`: it holds the private key.
struct Made {
    pem: String,
    key: String,
}

impl Certificate {
    /// Making an RSA key takes a good part of a second of CPU time, so it runs beside the async threads.
    async fn make(&self) -> Result<Made> {
        let wish = self.clone();
        let made = tokio::task::spawn_blocking(move || wish.make_now()).await;
        let made = made.map_err(|e| Error::internal(e.to_string()))?;
        made.map_err(|e| Error::internal(format!("the certificate cannot be made: {e}")))
    }

    fn make_now(&self) -> Result<Made, rcgen::Error> {
        let mut params = CertificateParams::new(vec![self.host.clone()])?;
        params.distinguished_name.push(DnType::CommonName, &self.host);
        for (name, value) in &self.subject {
            let kind = match name.as_str() {
                "C" => DnType::CountryName,
                "ST" => DnType::StateOrProvinceName,
                "L" => DnType::LocalityName,
                _ => DnType::OrganizationName,
            };
            params.distinguished_name.push(kind, value);
        }
        let now = OffsetDateTime::now_utc();
        // An hour back, for clocks that are behind.
        params.not_before = now - Duration::hours(1);
        params.not_after = now + Duration::days(i64::from(self.valid_days));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        // Only serverAuth: ACM limits importing client certificates again under the same ARN.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = params.self_signed(&key)?;
        Ok(Made { pem: certificate.pem(), key: key.serialize_pem() })
    }
}

/// The certificates that were imported into the region, with their tags: ACM lists by neither tag nor name, so the stacks of a
/// region share this list.
struct Imported(Vec<(CertificateSummary, Tags)>);

impl Imported {
    async fn read(view: &View) -> Result<Arc<Self>> {
        let read = || async {
            // Without this filter ACM hides every key but RSA 1024 and 2048.
            let all_keys = Filters::builder()
                .set_key_types(Some(KeyAlgorithm::values().iter().map(|k| KeyAlgorithm::from(*k)).collect()));
            let pages = view.acm.list_certificates().includes(all_keys.build()).into_paginator().items().send();
            let all: Vec<CertificateSummary> = pages.collect::<Result<_, _>>().await?;
            let imported = all.into_iter().filter(|s| s.r#type() == Some(&CertificateType::Imported));
            let tagged = try_join_all(imported.map(|summary| with_tags(view, summary))).await?;
            Ok(Self(tagged.into_iter().flatten().collect()))
        };
        view.shared(read).await
    }
}

/// `None` for one that has gone meanwhile.
async fn with_tags(view: &View, summary: CertificateSummary) -> Result<Option<(CertificateSummary, Tags)>> {
    let arn = summary.certificate_arn().unwrap_or_default().to_owned();
    match view.acm.list_tags_for_certificate().certificate_arn(arn).send().await.map_err(Error::from) {
        Ok(t) => {
            let tags = tags::read(t.tags().iter().map(|t| (Some(t.key()), t.value())));
            Ok(Some((summary, tags)))
        }
        Err(e) if e.is_not_found() => Ok(None),
        Err(e) => Err(e),
    }
}

async fn read(view: &View, summary: &CertificateSummary, tags: Tags) -> Result<Live<Certificate>> {
    let arn = summary.certificate_arn().unwrap_or_default();
    let (owner, name) = view.ownership.of(Certificate::KIND, &tags, arn);
    let pem = view.acm.get_certificate().certificate_arn(arn).send().await?.certificate.unwrap_or_default();
    let mut state = parse(&pem).unwrap_or_else(|| Certificate {
        host: "(unreadable)".to_owned(),
        subject: BTreeMap::new(),
        key: String::new(),
        valid_days: 0,
        until: OffsetDateTime::UNIX_EPOCH,
    });
    if let Some(key) = summary.key_algorithm().filter(|_| state.key.is_empty()) {
        state.key = key.as_str().replace('-', "_");
    }
    let since = summary.imported_at().and_then(|t| OffsetDateTime::from_unix_timestamp(t.secs()).ok());
    let output = CertificateOut { arn: arn.into(), pem };
    Ok(Live { owner, tags: Some(tags), since, ..Live::ready(name, arn, state, output) })
}

/// What the certificate itself says, whatever ACM says of it.
fn parse(pem: &str) -> Option<Certificate> {
    let (_, block) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = block.parse_x509().ok()?;
    let mut host = String::new();
    let mut subject = BTreeMap::new();
    for attribute in certificate.subject().iter_attributes() {
        let value = attribute.as_str().unwrap_or_default().to_owned();
        match attribute.attr_type().to_id_string().as_str() {
            "2.5.4.3" => host = value,
            "2.5.4.6" => drop(subject.insert("C".to_owned(), value)),
            "2.5.4.8" => drop(subject.insert("ST".to_owned(), value)),
            "2.5.4.7" => drop(subject.insert("L".to_owned(), value)),
            "2.5.4.10" => drop(subject.insert("O".to_owned(), value)),
            other => drop(subject.insert(other.to_owned(), value)),
        }
    }
    let key = match certificate.public_key().parsed() {
        Ok(x509_parser::public_key::PublicKey::RSA(rsa)) if rsa.key_size() == 2048 => KEY.to_owned(),
        Ok(x509_parser::public_key::PublicKey::RSA(rsa)) => format!("RSA_{}", rsa.key_size()),
        Ok(x509_parser::public_key::PublicKey::EC(_)) => "EC".to_owned(),
        _ => "another".to_owned(),
    };
    let until = certificate.validity().not_after.to_datetime();
    Some(Certificate { host, subject, key, valid_days: 0, until })
}

/// The wanted key algorithm.
pub fn wanted_key() -> String {
    KEY.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_what_was_wanted() {
        let wanted = Certificate {
            host: "bot.example.com".into(),
            subject: BTreeMap::from([("C".into(), "US".into()), ("O".into(), "Polybot".into())]),
            key: wanted_key(),
            valid_days: 90,
            until: OffsetDateTime::now_utc() + Duration::days(30),
        };
        let made = wanted.make_now().unwrap();
        assert!(made.key.contains("PRIVATE KEY"));
        let live = parse(&made.pem).unwrap();
        assert_eq!(wanted.changes(&live), []);
        let later = Certificate { until: OffsetDateTime::now_utc() + Duration::days(91), ..wanted.clone() };
        assert_eq!(later.changes(&live).iter().map(|c| c.field).collect::<Vec<_>>(), ["until"]);
        let other = Certificate { host: "other.example.com".into(), ..wanted };
        assert_eq!(other.changes(&live).iter().map(|c| c.field).collect::<Vec<_>>(), ["host"]);
    }
}
