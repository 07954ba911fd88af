//! Findings in the Static Analysis Results Interchange Format 2.1.0, which code scanning of GitHub reads
//! (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).

use super::{Report, Verdict};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// One finding.
pub struct Finding {
    /// Identifier of its rule.
    pub rule: String,
    /// What the rule is about.
    pub title: String,
    /// `error`, `warning` or `note`.
    pub level: &'static str,
    /// What was found.
    pub message: String,
    /// What stays the same from run to run, so that a finding is known again.
    pub fingerprint: String,
    /// Why it may be as it is, where somebody said so.
    pub suppressed: Option<String>,
}

/// A document of findings. `file` is the spec, as the repository names it.
pub fn document(findings: &[Finding], file: &str) -> Value {
    let rules: BTreeMap<&str, &str> = findings.iter().map(|f| (&*f.rule, &*f.title)).collect();
    let result = |f: &Finding| {
        let place = json!({ "artifactLocation": { "uri": file }, "region": { "startLine": 1 } });
        let mut result = json!({
            "ruleId": f.rule,
            "level": f.level,
            "message": { "text": f.message },
            "locations": [{ "physicalLocation": place }],
            "partialFingerprints": { "address/v1": f.fingerprint },
        });
        if let Some(why) = &f.suppressed {
            result["suppressions"] = json!([{ "kind": "inSource", "justification": why }]);
        }
        result
    };
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "polybot-controller",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } }))
                    .collect::<Vec<_>>(),
            } },
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

/// What `drift` found, one finding a step.
pub fn drift(reports: &[Report]) -> Vec<Finding> {
    let steps = reports.iter().flat_map(|r| r.steps.iter().map(move |s| (r, s)));
    let finding = |(r, s): (&Report, &super::Step)| {
        let verdict = s.verdict?;
        let (title, level) = match verdict {
            Verdict::Drift => ("AWS was changed behind the spec's back", "warning"),
            Verdict::Pending => ("The spec says something that was not applied yet", "note"),
            Verdict::Unclear => ("AWS differs from the spec, and nothing tells why", "warning"),
            Verdict::Unchecked => ("It could not be checked", "warning"),
            Verdict::Follows => return None,
        };
        let fields = s.changes.iter().map(|c| format!("{}: the spec wants {}, AWS has {}", c.field, c.wanted, c.live));
        let mut message = format!("{}: {} {}", r.title(), s.action, s.address);
        for part in s.reason.iter().cloned().chain(fields) {
            message.push_str(&format!("; {part}"));
        }
        Some(Finding {
            rule: verdict.word().to_owned(),
            title: title.to_owned(),
            level,
            message,
            fingerprint: format!("{}/{}/{}", r.region, r.stack, s.address),
            suppressed: None,
        })
    };
    steps.filter_map(finding).collect()
}
