"""The classifier as a folder of static files: a page that predicts in the browser.

The folder is meant to be published and therefore has no images of the run and nothing about single
images: no report, no neighbours, no reference images. The page tests itself on synthetic images.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from lucency.classifier import Classifier
from lucency.classifier.activation_map import method_of, scale_of
from lucency.classifier.prediction import ABSTAIN, label_rules
from lucency.errors import BackendError, ClassifierError, ParityError
from lucency.export.folder import check_output
from lucency.export.synthetic_images import SyntheticImages, synthetic_images
from lucency.imaging.depths import in_words, is_deep
from lucency.io import built_folder, write_bytes
from lucency.progress import SILENT, Progress
from lucency.run_folder.files import FORMAT
from lucency.serve import web

TOLERANCE = 1e-3  # largest difference of a probability that the page accepts

VENDOR = web.STATIC / "vendor"
_RUNTIME = "ort.wasm.min.mjs"
VENDORED = (
    _RUNTIME,
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "LICENSE.txt",
)
# The content security policy. A static page has to contain it. WebAssembly runs in a worker, to
# which the policy of the server applies instead of the page's.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
_HEAD, _STATUS = '<meta charset="utf-8">', '<div id="status" role="status">'
# The page replaces this text when its scripts run, which browsers do not permit in a local file.
_UNSERVED = (
    '<p class="message">Loading. If nothing happens, this page was opened as a file, or the '
    "browser is too old. It needs a web server, like every page that computes. In its folder run "
    "<code>python3 -m http.server --bind 127.0.0.1</code> and open "
    "<code>http://127.0.0.1:8000</code>.</p>"
)


def write_web(
    run: Path,
    classifier: Classifier,
    out: Path,
    progress: Progress = SILENT,
    *,
    force: bool = False,
) -> Path:
    """Write a page that classifies images in the browser.

    Args:
        run: The run folder.
        classifier: The classifier of the run; it has an ONNX file.
        out: Folder to make.
        progress: Called on every step.
        force: Whether to replace an earlier export there.

    Returns:
        The folder.

    Raises:
        BackendError: ONNX Runtime for browsers is missing from this installation.
        ClassifierError: The classifier has no ONNX file, it cannot be used, or it takes images of
            more than 8 bits.
        ParityError: The predictions for the reference images differ from those after training.
        RunError: The output folder exists or cannot be written.
    """
    if classifier.onnx is None:
        raise ClassifierError(f"{run} has no ONNX file for the page to run. Train again.")
    if is_deep(classifier.spec.depth):
        raise ClassifierError(
            f"{run} was trained on images of {in_words(classifier.spec.depth)}, and a page without "
            "a server reads 8 bits. Use lucency serve."
        )
    if missing := [name for name in VENDORED if not (VENDOR / name).is_file()]:
        raise BackendError(
            f"ONNX Runtime for browsers is missing ({VENDOR / missing[0]}). In a checkout of "
            "Lucency run `make vendor`, which needs npm; a released wheel includes it."
        )
    check_output(out, force=force)
    synthetic = synthetic_images(classifier)
    progress.note("Writing the page.")
    files = _page() | _data(run, classifier, synthetic)
    files["certificate.json"] = _json(_certificate(classifier, synthetic, files))
    with built_folder(out, replace=force) as partial:
        for name, data in files.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(partial / name, data)
    return out


def _page() -> dict[str, bytes]:
    """Return the page's files by path, with the engine that predicts in the browser."""
    files = {f"page/{name}": data for name, (data, _) in web.static_files().items()}
    index = files.pop("page/index.html").decode()
    files["index.html"] = _unserved(index).encode()
    del files["page/server.js"]
    files["page/engine.js"] = (web.STATIC / "local.js").read_bytes()
    for path in sorted((web.STATIC / "local").rglob("*.js")):
        files[f"page/{path.relative_to(web.STATIC).as_posix()}"] = path.read_bytes()
    for name in VENDORED:
        files[f"page/vendor/{name}"] = (VENDOR / name).read_bytes()
    # The binary is built from the same components as the Python package, which lists them.
    notices = importlib.metadata.distribution("onnxruntime").locate_file("onnxruntime")
    third = Path(str(notices)) / "ThirdPartyNotices.txt"
    if third.is_file():
        files["page/vendor/ThirdPartyNotices.txt"] = third.read_bytes()
    return files


def _unserved(index: str) -> str:
    """Return the page with its content security policy and a text for when nothing happens."""
    for tag in (_HEAD, _STATUS):
        if index.count(tag) != 1:
            raise ValueError(f"index.html must have exactly one {tag}")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return index.replace(_HEAD, f"{_HEAD}\n{policy}").replace(_STATUS, _STATUS + _UNSERVED)


def _data(run: Path, classifier: Classifier, synthetic: SyntheticImages) -> dict[str, bytes]:
    """Return the data files of the engine, by path."""
    about = web.about(run, classifier) | {"report": False, "neighbours": False}
    files = {
        "about.json": _json(about),
        "settings.json": _json(_settings(classifier)),
        "model.onnx": classifier.onnx or b"",
        "check.safetensors": save(synthetic.arrays()),
    }
    if classifier.ood_detector is not None:
        files["ood_detector.safetensors"] = save(dict(classifier.ood_detector.arrays()))
    return files


def _settings(classifier: Classifier) -> dict[str, Any]:
    """Return the settings of the engine that the description of the classifier does not have."""
    rules = label_rules(classifier.spec.labels)
    rule = classifier.conformal.deciding(*ABSTAIN) if classifier.conformal else None
    scores = [each and [*each.scores] for each in rules] if rules else rule and [*rule.scores]
    return {
        "scores": scores,
        "map": {"method": method_of(classifier.spec), "scale": scale_of(classifier.spec)},
        "tolerance": TOLERANCE,
    }


def _certificate(
    classifier: Classifier, synthetic: SyntheticImages, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return the files of the folder, and the result of the test on the reference images."""
    reference_images = classifier.reference_images
    difference = reference_images and reference_images.largest_difference(classifier.predict_pixels)
    if difference and difference > TOLERANCE:
        raise ParityError(
            "The ONNX file does not predict as it did after training: probabilities of the "
            f"reference images differ by up to {difference:.2g} (at most {TOLERANCE:g} allowed). "
            "Nothing was written. Restore the run folder, or train again."
        )
    rows = [
        {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(files.items())
    ]
    return {
        "format": FORMAT,
        "exported": "web",
        "classifier": {"sha256": classifier.fingerprint, "parity": classifier.parity},
        "reference_images": reference_images
        and {"n": len(reference_images.pixels), "max_abs_difference": difference},
        "page_checks": {
            "images": f"{len(synthetic.pixels)} synthetic images, each time the page is opened",
            "tolerance": TOLERANCE,
        },
        "files": rows,
        "bytes": sum(row["bytes"] for row in rows),
        "versions": {
            name: importlib.metadata.version(name) for name in ("lucency", "numpy", "onnxruntime")
        }
        | {"onnxruntime-web": _runtime_version()},
    }


def _runtime_version() -> str:
    """Return the version in the first lines of the vendored script."""
    head = (VENDOR / _RUNTIME).read_text("utf-8")[:500]
    _, found, rest = head.partition("ONNX Runtime Web v")
    return rest.split()[0] if found else "unknown"


def _json(document: Any) -> bytes:
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()
