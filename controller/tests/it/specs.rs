//! The committed specs, and specs that are wrong.

use controller::spec::load::load;

fn root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_committed_spec_is_valid_and_can_be_planned() {
    let stacks = load(&[root().join("specs")]).unwrap();
    assert!(stacks.len() >= 6);
    for stack in &stacks {
        let wanted = controller::stack::stack(stack, &controller::facts::Facts::assumed(stack));
        assert!(wanted.addresses().count() > 30);
    }
}

#[test]
fn the_committed_schema_is_the_one_the_program_prints() {
    let path = root().join("specs/polybotstack.schema.json");
    let current = format!("{}\n", serde_json::to_string_pretty(&controller::spec::json_schema()).unwrap());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == current, "run UPDATE_SCHEMA=1 cargo test -p controller the_committed_schema");
}

#[test]
fn validate_tells_what_has_no_effect_on_a_file() {
    let spec = root().join("specs/full.yaml");
    let done =
        std::process::Command::new(env!("CARGO_BIN_EXE_controller")).arg("validate").arg("-f").arg(spec).output();
    let said = String::from_utf8(done.unwrap().stdout).unwrap();
    assert!(said.contains("spec.cluster is for `controller operate`"), "{said}");
}
