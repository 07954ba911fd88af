//! The chart, the CRD and the program are of one piece. What Helm makes of it is tested by `make chart-test`.

use clap::CommandFactory;
use controller::spec::PolybotStack;
use kube::CustomResourceExt;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/polybot-controller")
}

/// The committed file is this text; with `UPDATE_CHART` it becomes it.
fn is(file: &str, text: &str) {
    let path = chart().join(file);
    if std::env::var_os("UPDATE_CHART").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap_or_default() == text, "{file} is not current; run make chart");
}

#[test]
fn the_chart_is_of_one_piece_with_the_program() {
    let about: serde_json::Value =
        serde_saphyr::from_str(&std::fs::read_to_string(chart().join("Chart.yaml")).unwrap()).unwrap();
    assert_eq!(about["appVersion"], env!("CARGO_PKG_VERSION"));
    is("files/crd.yaml", &serde_saphyr::to_string(&PolybotStack::crd()).unwrap());
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_controller")).arg("crd").output().unwrap();
    assert_eq!(
        String::from_utf8(printed.stdout).unwrap(),
        std::fs::read_to_string(chart().join("files/crd.yaml")).unwrap()
    );
    let read = |file: &str| std::fs::read_to_string(chart().join(file)).unwrap();
    is("README.md", &readme(&read("README.md"), &read("values.yaml")));
}

#[test]
fn the_program_knows_every_argument_that_the_chart_gives_it() {
    let mut command = controller::cli::Cli::command();
    command.build();
    let operate = command.find_subcommand("operate").unwrap();
    let known: BTreeSet<&str> = operate.get_arguments().filter_map(clap::Arg::get_long).collect();
    let template = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    let given: BTreeSet<&str> = template
        .split("--")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('=')?.0))
        .filter(|name| !name.contains(' '))
        .collect();
    assert!(given.len() >= 9, "{given:?}");
    assert!(given.is_subset(&known), "{:?}", given.difference(&known));
}

/// What the chart's roles allow, as `verb group/resource`.
pub fn allowed() -> BTreeSet<String> {
    let template = std::fs::read_to_string(chart().join("templates/rbac.yaml")).unwrap();
    // Rules have no templating but in names, which are not looked at.
    let rules = template.lines().skip_while(|l| !l.starts_with("rules:"));
    let mut allowed = BTreeSet::new();
    let (mut group, mut resource) = (String::new(), String::new());
    for line in rules {
        let list = |key: &str| {
            Some(line.trim().trim_start_matches("- ").strip_prefix(key)?.trim().trim_matches(['[', ']']).to_owned())
        };
        if let Some(groups) = list("apiGroups:") {
            groups.trim_matches('"').clone_into(&mut group);
        } else if let Some(resources) = list("resources:") {
            resource = resources;
        } else if let Some(verbs) = list("verbs:") {
            allowed.extend(verbs.split(", ").map(|verb| format!("{verb} {group}/{resource}")));
        }
    }
    allowed
}

/// The path at the operator's port that `helm test` asks for.
pub fn tested() -> String {
    let template = std::fs::read_to_string(chart().join("templates/tests/ready.yaml")).unwrap();
    let (_, path) = template.split_once("{{ .Values.operator.port }}/").unwrap();
    path.split('"').next().unwrap().to_owned()
}

/// Every value with its default and its comment.
fn readme(old: &str, values: &str) -> String {
    let (by_hand, _) = old.split_once("## Values\n").unwrap();
    let mut text = format!(
        "{by_hand}## Values\n\nMade from `values.yaml` by `make chart`.\n\n| value | default | what it is |\n|---|---|---|\n"
    );
    let (mut section, mut about) = (String::new(), None::<String>);
    let mut described = 0;
    for line in values.lines() {
        let (indent, line) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(comment) = line.strip_prefix("# -- ") {
            about = Some(comment.to_owned());
        } else if let Some((key, default)) = line.split_once(':').filter(|_| !line.starts_with('#')) {
            if indent == 0 {
                section = String::new();
            }
            match about.take() {
                Some(comment) => {
                    let default = if default.trim().is_empty() { "see values.yaml" } else { default.trim() };
                    text.push_str(&format!("| `{section}{key}` | `{default}` | {comment} |\n"));
                    described += 1;
                }
                None if indent == 0 => section = format!("{key}."),
                // The inside of a default that has several lines.
                None => assert_eq!(indent, 2, "{key} has no comment"),
            }
        }
    }
    assert!(described > 30, "{described}");
    text
}
