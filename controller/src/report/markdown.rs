//! Reports as one comment of a pull request or the body of an issue.

use super::{Document, Report, Step, Verdict, risk::Risk};
use crate::preflight::State;

/// GitHub takes 65,536 characters; some room is left for what a workflow adds.
const LIMIT: usize = 60_000;
/// Characters of a value that are shown.
const VALUE: usize = 300;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What `apply` would do.
    Plan,
    /// What differs, and who made it so.
    Drift,
}

impl Topic {
    /// A comment of HTML by which a workflow finds the comment or issue that it wrote before.
    pub fn marker(self) -> &'static str {
        match self {
            Self::Plan => "<!-- polybot-controller: plan -->",
            Self::Drift => "<!-- polybot-controller: drift -->",
        }
    }
}

/// The text, at most 60 kB: where it would be longer, the drawings go first, then the details, then the ends of tables.
pub fn markdown(topic: Topic, document: &Document, notes: &[String]) -> String {
    let full = Detail { graph: true, fields: true, rows: usize::MAX };
    let attempts = [
        full,
        Detail { graph: false, ..full },
        Detail { graph: false, fields: false, ..full },
        Detail { graph: false, fields: false, rows: 100 },
        Detail { graph: false, fields: false, rows: 20 },
    ];
    let mut text = String::new();
    for detail in attempts {
        text = whole(topic, document, notes, detail);
        if text.len() <= LIMIT {
            return text;
        }
    }
    cut(&text, LIMIT)
}

#[derive(Clone, Copy)]
struct Detail {
    graph: bool,
    fields: bool,
    rows: usize,
}

fn cut(text: &str, limit: usize) -> String {
    text[..text.floor_char_boundary(limit)].to_owned()
}

fn whole(topic: Topic, document: &Document, notes: &[String], detail: Detail) -> String {
    let reports = &document.stacks;
    let mut text = format!("{}\n", topic.marker());
    if topic == Topic::Plan {
        // What a workflow reads back after the merge, for `apply --expect`.
        let digests: Vec<&str> = reports.iter().filter_map(|r| r.digest.as_deref()).collect();
        text.push_str(&format!("<!-- digests: {} -->\n", digests.join(" ")));
    }
    text.push_str(match topic {
        Topic::Plan => "## Plan\n\n",
        Topic::Drift => "## Drift\n\n",
    });
    text.push_str("| Stack | | Downtime | Digest |\n|---|---|---|---|\n");
    for r in reports {
        let digest = r.digest.as_ref().filter(|_| topic == Topic::Plan).map(|d| format!("`{d}`")).unwrap_or_default();
        text.push_str(&format!("| **{}** | {} | {} | {digest} |\n", cell(&r.title()), cell(&r.summary), downtime(r)));
    }
    for u in &document.unreached {
        let why = cell(&u.why);
        text.push_str(&format!("| **{} in {}** | **not reached**: {why} | | |\n", cell(&u.stack), cell(&u.region)));
    }
    for r in reports {
        stack(&mut text, topic, r, detail);
    }
    for note in notes {
        text.push_str(&format!("\n{note}\n"));
    }
    text
}

fn downtime(r: &Report) -> &'static str {
    match worst(r) {
        Risk::None => "none",
        Risk::Restart => "none; instances are replaced a few at a time",
        Risk::Outage => "**brief**",
        Risk::Data => "**data is lost**",
    }
}

/// The worst that a report's steps can do.
pub fn worst(r: &Report) -> Risk {
    r.steps.iter().map(|s| s.risk).max().unwrap_or_default()
}

fn stack(text: &mut String, topic: Topic, r: &Report, detail: Detail) {
    let nothing = r.steps.is_empty() && r.ignored.is_empty() && r.unmanaged.is_empty() && r.ended.is_empty();
    if nothing {
        return;
    }
    text.push_str(&format!("\n### {}\n\n", cell(&r.title())));
    if !r.steps.is_empty() {
        text.push_str("| | Resource | Action | Cause | Risk | |\n|---|---|---|---|---|---|\n");
        for step in r.steps.iter().take(detail.rows) {
            text.push_str(&row(step));
        }
        if r.steps.len() > detail.rows {
            text.push_str(&format!("\n… and {} more; the log has all of them.\n", r.steps.len() - detail.rows));
        }
    }
    if detail.fields && r.steps.iter().any(|s| !s.changes.is_empty()) {
        text.push_str("\n<details><summary>Fields</summary>\n\n");
        for step in r.steps.iter().filter(|s| !s.changes.is_empty()) {
            text.push_str(&format!("**{}**\n```diff\n", cell(&step.address)));
            for c in &step.changes {
                text.push_str(&format!("  {}\n- {}\n+ {}\n", fence(&c.field), fence(&c.live), fence(&c.wanted)));
            }
            text.push_str("```\n");
        }
        text.push_str("\n</details>\n");
    }
    list(
        text,
        "Ignored",
        r.ignored
            .iter()
            .map(|i| format!("`{}` {}: {} (until {})", i.address, cell(&i.field), cell(&i.reason), i.until)),
        detail.rows,
    );
    list(text, "No longer ignored", r.ended.iter().map(|e| cell(e)), detail.rows);
    let late = r.preflight.iter().filter(|f| f.state != State::Ready);
    list(text, "Preflight", late.map(|f| cell(&f.to_string())), detail.rows);
    list(text, "Unmanaged", r.unmanaged.iter().map(|u| cell(&u.to_string())), detail.rows);
    if let Some(graph) = r.graph.as_ref().filter(|_| detail.graph && topic == Topic::Plan && !r.steps.is_empty()) {
        text.push_str(&format!("\n<details><summary>Graph</summary>\n\n```mermaid\n{graph}```\n\n</details>\n"));
    }
}

fn row(step: &Step) -> String {
    let cause = match step.verdict {
        Some(Verdict::Drift) => "changed in AWS",
        Some(Verdict::Pending) => "spec",
        Some(Verdict::Unclear) => "unclear",
        Some(Verdict::Unchecked) => "**not checked**",
        Some(Verdict::Follows) => "follows",
        None => "",
    };
    let risk = match step.risk {
        Risk::None => "none".to_owned(),
        risk => format!("**{}**: {}", risk.word(), cell(&step.risk_reason)),
    };
    let mut fields: Vec<&str> = step.changes.iter().map(|c| c.field.as_str()).collect();
    fields.dedup();
    let mut why = step.reason.as_ref().map_or_else(|| fields.join(", "), |r| cell(r));
    for deed in &step.by {
        why.push_str(&format!("<br>{}", cell(&deed.to_string())));
    }
    format!("| {} | {} | {} | {cause} | {risk} | {why} |\n", step.sign, code(&step.address), step.action)
}

fn list(text: &mut String, title: &str, items: impl Iterator<Item = String>, most: usize) {
    let items: Vec<String> = items.collect();
    if items.is_empty() {
        return;
    }
    text.push_str(&format!("\n<details><summary>{title}: {}</summary>\n\n", items.len()));
    items.iter().take(most).for_each(|item| text.push_str(&format!("- {item}\n")));
    text.push_str("\n</details>\n");
}

/// A text that neither ends a cell nor becomes markup.
fn cell(text: &str) -> String {
    let short: String = text.chars().take(VALUE).collect();
    let mut out = String::with_capacity(short.len());
    for c in short.chars() {
        match c {
            '\n' | '\r' => out.push(' '),
            '<' => out.push_str("&lt;"),
            '|' | '*' | '`' | '[' | ']' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// A text as code, in a cell: within code only what ends it or the cell is special.
fn code(text: &str) -> String {
    let short: String = text.chars().take(VALUE).collect();
    format!("`{}`", short.replace(['\n', '\r', '`'], " ").replace('|', "\\|"))
}

/// A value on one line of a fenced block.
fn fence(text: &str) -> String {
    let mut short: String = text.chars().take(VALUE).map(|c| if c == '\n' { ' ' } else { c }).collect();
    if text.chars().count() > VALUE {
        short.push('…');
    }
    short.replace("```", "` ` `")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Summary,
        report::{Field, Unreached},
    };

    fn report(steps: usize) -> Report {
        let change = Field {
            field: "policy".into(),
            live: "a | b\n```<script>".repeat(40),
            wanted: "c".repeat(1000),
            how: "inPlace".into(),
        };
        let step = |n: usize| Step {
            address: format!("queue/q{n}"),
            id: None,
            action: "update".into(),
            reason: None,
            verdict: Some(Verdict::Drift),
            risk: Risk::None,
            risk_reason: String::new(),
            since: None,
            changes: vec![Field {
                field: change.field.clone(),
                live: change.live.clone(),
                wanted: change.wanted.clone(),
                how: change.how.clone(),
            }],
            by: vec![],
            recorded_as: None,
            sign: '~',
        };
        Report {
            stack: "prod".into(),
            region: "us-east-1".into(),
            account: "1".into(),
            summary: "many".into(),
            digest: Some("0123".into()),
            counts: Summary::default(),
            steps: (0..steps).map(step).collect(),
            ignored: vec![],
            ended: vec![],
            unmanaged: vec![],
            preflight: vec![],
            graph: Some("graph LR\n".into()),
        }
    }

    fn document(steps: usize) -> Document {
        let far = Unreached { stack: "far".into(), region: "eu-west-1".into(), why: "no | credentials".into() };
        Document::new("plan", 1, vec![report(steps)], vec![far])
    }

    #[test]
    fn it_fits_into_a_comment_and_says_what_was_left_out() {
        let small = markdown(Topic::Plan, &document(2), &["a note".into()]);
        assert!(small.contains("| **far in eu-west-1** | **not reached**: no \\| credentials |"));
        assert!(small.contains("mermaid") && small.contains("<details><summary>Fields") && small.contains("a note"));
        let large = markdown(Topic::Plan, &document(5000), &[]);
        assert!(large.len() <= LIMIT && large.contains("more; the log has all of them"), "{}", large.len());
    }

    #[test]
    fn values_cannot_break_out_of_the_table_or_the_fence() {
        assert_eq!(cell("a|b\nc`d`<img>"), "a\\|b c\\`d\\`&lt;img>");
        assert_eq!(code("NAT gateway/*|`\nx"), "`NAT gateway/*\\|  x`");
        let text = markdown(Topic::Drift, &document(1), &[]);
        assert_eq!(text.matches("```").count(), 2);
    }
}
