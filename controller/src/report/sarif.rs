//! Findings in the Static Analysis Results Interchange Format 2.1.0, which code scanning of GitHub reads.

use super::{Report, Verdict};
use serde_json::{Value, json};

/// What `drift` found, one result a step. `file` is the spec, as the repository names it.
pub fn sarif(reports: &[Report], file: &str) -> Value {
    let rules = [
        (Verdict::Drift, "AWS was changed behind the spec's back"),
        (Verdict::Pending, "The spec says something that was not applied yet"),
        (Verdict::Unclear, "AWS differs from the spec, and nothing tells why"),
        (Verdict::Unchecked, "It could not be checked"),
    ];
    let results = reports.iter().flat_map(|r| r.steps.iter().map(move |s| (r, s))).filter_map(|(r, s)| {
        let verdict = s.verdict.filter(|v| *v != Verdict::Follows)?;
        let fields: Vec<String> =
            s.changes.iter().map(|c| format!("{}: the spec wants {}, AWS has {}", c.field, c.wanted, c.live)).collect();
        let mut words = format!("{}: {} {}", r.title(), s.action, s.address);
        for part in s.reason.iter().chain(&fields) {
            words.push_str(&format!("; {part}"));
        }
        Some(json!({
            "ruleId": verdict.word(),
            "level": if verdict == Verdict::Pending { "note" } else { "warning" },
            "message": { "text": words },
            "locations": [{ "physicalLocation": { "artifactLocation": { "uri": file }, "region": { "startLine": 1 } } }],
            "partialFingerprints": { "address/v1": format!("{}/{}/{}", r.region, r.stack, s.address) },
        }))
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "polybot-controller",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.map(|(v, text)| json!({ "id": v.word(), "shortDescription": { "text": text } })),
            } },
            "results": results.collect::<Vec<_>>(),
        }],
    })
}
