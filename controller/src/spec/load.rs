//! Reading specs from files, folders and standard input, with all faults of all files at once.

use super::{
    PolybotStack,
    check::{check, check_all},
    json_schema,
    tree::{Fault, Tree, locate, walk},
};

use serde_saphyr::Spanned;
use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// Why specs could not be loaded; the text is complete, with places and hints.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub String);

/// A spec over this size is no spec.
const MOST_BYTES: u64 = 1 << 20;

/// A document with the file it is in.
pub(super) struct Document {
    pub(super) file: usize,
    pub(super) tree: Spanned<Tree>,
    pub(super) stack: PolybotStack,
}

/// A file that was read.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// All stacks in these files, in order. A folder stands for its `.yaml` and `.yml` files, `-` for standard input.
pub fn load(paths: &[PathBuf]) -> Result<Vec<PolybotStack>, LoadError> {
    let schema = json_schema();
    let (mut files, mut documents, mut faults) = (vec![], vec![], vec![]);
    for path in paths {
        for file in list(path)? {
            let name = if file.as_os_str() == "-" { "(standard input)".to_owned() } else { file.display().to_string() };
            let text = match read(&file) {
                Ok(text) => text,
                Err(LoadError(why)) => {
                    faults.push(format!("error: {why}\n"));
                    continue;
                }
            };
            let index = files.len();
            files.push(File { name, text });
            let file = &files[index];
            match parse(index, file, &schema) {
                Ok(found) => documents.extend(found),
                Err(found) => faults.extend(found.iter().map(|f| render(file, f))),
            }
        }
    }
    let mut located = vec![];
    for (i, document) in documents.iter().enumerate() {
        located.extend(check(&document.stack).into_iter().map(|found| (i, found)));
    }
    located.extend(check_all(&documents.iter().map(|d| &d.stack).collect::<Vec<_>>()));
    for (i, (path, message, hint)) in located {
        let at = locate(&documents[i].tree, &path);
        faults.push(render(&files[documents[i].file], &Fault { path, message, hint, at }));
    }
    if faults.is_empty() {
        return Ok(documents.into_iter().map(|d| d.stack).collect());
    }
    let count = if faults.len() == 1 { "1 fault".to_owned() } else { format!("{} faults", faults.len()) };
    Err(LoadError(format!("{}{count}", faults.join("\n"))))
}

pub(super) fn parse(index: usize, file: &File, schema: &serde_json::Value) -> Result<Vec<Document>, Vec<Fault>> {
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough };
    let trees: Vec<Spanned<Tree>> = serde_saphyr::from_multiple_with_options(&file.text, options).map_err(|e| {
        let at = e.location().map_or((0, 0), |l| (l.line(), l.column()));
        let message = e.without_snippet().to_string();
        vec![Fault {
            path: String::new(),
            message: message.lines().next().unwrap_or_default().to_owned(),
            hint: String::new(),
            at,
        }]
    })?;
    if trees.is_empty() {
        return Err(vec![Fault {
            path: String::new(),
            message: "the file holds no document".to_owned(),
            hint: "specs/minimal.yaml shows the least a spec has to say".to_owned(),
            at: (0, 0),
        }]);
    }
    let (mut documents, mut faults) = (vec![], vec![]);
    for tree in trees {
        let found = walk(&tree, schema);
        if !found.is_empty() {
            faults.extend(found);
            continue;
        }
        let json = tree.value.to_json();
        match serde_path_to_error::deserialize::<_, PolybotStack>(Unquoted(json)) {
            Ok(stack) => documents.push(Document { file: index, tree, stack }),
            Err(e) => {
                let path = e.path().to_string();
                let at = locate(&tree, &path);
                faults.push(Fault { path, message: e.inner().to_string(), hint: String::new(), at });
            }
        }
    }
    if faults.is_empty() { Ok(documents) } else { Err(faults) }
}

/// A JSON value as a deserializer.
struct Unquoted(serde_json::Value);

impl<'de> serde::de::Deserializer<'de> for Unquoted {
    type Error = serde_json::Error;
    fn deserialize_any<V: serde::de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        self.0.deserialize_any(visitor)
    }
    fn deserialize_struct<V: serde::de::Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_struct(name, fields, visitor)
    }
    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// What, where, how to mend:
///
/// ```text
/// error: there is no field replica
///   --> specs/prod.yaml:31:5  spec.polybot.replica
///    31 |     replica: 2
/// hint: did you mean replicas?
/// ```
pub(super) fn render(file: &File, fault: &Fault) -> String {
    let (line, column) = fault.at;
    let place = if line == 0 { file.name.clone() } else { format!("{}:{line}:{column}", file.name) };
    let mut text = format!("error: {}\n  --> {place}  {}\n", fault.message, fault.path).replace("  \n", "\n");
    let source = usize::try_from(line).ok().and_then(|l| l.checked_sub(1)).and_then(|l| file.text.lines().nth(l));
    if let Some(source) = source {
        text.push_str(&format!("{line:>5} | {}\n", source.chars().take(160).collect::<String>()));
    }
    if !fault.hint.is_empty() {
        text.push_str(&format!("hint: {}\n", fault.hint));
    }
    text
}

fn list(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|e| LoadError(format!("{}: {e}", path.display())))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "yaml" || e == "yml"))
        .collect();
    files.sort();
    if files.is_empty() {
        Err(LoadError(format!("{}: the folder holds no .yaml file", path.display())))
    } else {
        Ok(files)
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let fail = |e: std::io::Error| LoadError(format!("{} cannot be read: {e}", path.display()));
    let mut bytes = vec![];
    let mut limited: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin().take(MOST_BYTES + 1))
    } else {
        Box::new(std::fs::File::open(path).map_err(fail)?.take(MOST_BYTES + 1))
    };
    limited.read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(LoadError(format!("{} is over 1 MiB: this is no spec", path.display())));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(LoadError(format!("{} is no text: this is no spec", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> String {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), text).unwrap();
        match load(&[file.path().to_owned()]) {
            Ok(_) => String::new(),
            Err(e) => e.to_string().replace(&file.path().display().to_string(), "f.yaml"),
        }
    }

    fn with(change: &[(&str, &str)]) -> String {
        let mut text = include_str!("../../../specs/minimal.yaml").to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        text
    }

    #[test]
    fn all_faults_come_at_once_each_with_place_snippet_and_hint() {
        let said = faults(&with(&[
            ("  region: us-east-1", "  region: useast\n  regoin: us-east-1"),
            (
                "  polybot:\n    image: { tag: v1.0.0 }",
                "  polybot:\n    image: { tag: v1.0.0 }\n    replicas: two\n    replicas: 3",
            ),
        ]));
        assert!(said.contains("error: there is no field regoin\n  --> f.yaml:11:3  spec.regoin\n   11 |   regoin: us-east-1\nhint: did you mean region?"), "{said}");
        assert!(said.contains("\"two\", but a whole number is expected"), "{said}");
        assert!(said.contains("replicas is given twice"), "{said}");
        assert!(said.ends_with("3 faults"), "{said}");
    }

    #[test]
    fn what_types_cannot_say_is_said_with_a_place() {
        for (change, expected) in [
            (("region: us-east-1", "region: useast"), "no AWS region"),
            (("name: bot.example.com", "name: bot.example.org"), "f.yaml:13:11  spec.domain.name"),
            (("  yolo5:\n", "  network: { cidr: 10.0.0.0/24, zones: 3 }\n  yolo5:\n"), "no room for 3 subnets"),
            (("  yolo5:\n", "  network: { cidr: 10.0.0.1/16 }\n  yolo5:\n"), "did you mean 10.0.0.0/16?"),
            (
                ("  yolo5:\n", "  access: { ssh: { cidrs: [0.0.0.0/0], keyName: k } }\n  yolo5:\n"),
                "SSH from everywhere",
            ),
            (("  yolo5:\n", "  yolo5:\n    replicas: { min: 5, max: 2 }\n"), "min 5 is over max 2"),
            (("  yolo5:\n", "  yolo5:\n    replicas: { min: 0, max: 2 }\n"), "min 0 needs scaling.backlog"),
            (("  yolo5:\n", "  queues: { identify: { retention: 30s } }\n  yolo5:\n"), "60s to 14d"),
            (("  yolo5:\n", "  telegram: { token: { env: A, file: b } }\n  yolo5:\n"), "exactly one place"),
            (("prefix: my", "prefix: My_Prefix"), "cannot be part of AWS names"),
            (("kind: PolybotStack", "kind: Deployment"), "\"PolybotStack\" is expected"),
            (("  region: us-east-1\n", ""), "region is missing"),
        ] {
            let said = faults(&with(&[change]));
            assert!(said.contains(expected), "{expected}: {said}");
        }
    }

    #[test]
    fn two_stacks_with_one_identity_are_refused() {
        let one = with(&[]);
        let said = faults(&format!("{one}---\n{one}"));
        assert!(said.contains("a second stack called minimal in us-east-1"), "{said}");
    }

    #[test]
    fn what_is_no_spec_is_one_clear_line() {
        assert!(faults("").contains("holds no document"));
        assert!(faults("a: [1").contains("f.yaml:"), "{}", faults("a: [1"));
        assert!(faults("\0\0").contains("is no text"));
        assert!(faults(&"x".repeat(2 << 20)).contains("over 1 MiB"));
        let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
        for (p, c) in ('a'..='y').zip('b'..='z') {
            bomb.push_str(&format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n"));
        }
        assert!(faults(&bomb).contains("error:"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
            let _ = faults(&text);
        }
    }
}
