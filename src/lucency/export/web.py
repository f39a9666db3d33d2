"""The classifier as a folder of static files: a page that computes in the browser.

Nothing that a run knows of single images goes along, as the folder is made to be published: no
report, no neighbours, no reference images. The page checks itself on images drawn by formula.
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
from lucency.classifier.classifier import ABSTAIN
from lucency.errors import BackendError, ClassifierError, ParityError
from lucency.export.drawn_images import Drawn, draw
from lucency.export.folder import refuse_in_the_way
from lucency.io import built_folder, write_bytes
from lucency.progress import SILENT, Progress
from lucency.serve import web

TOLERANCE = 1e-3  # largest difference of a probability with which the page agrees to work
FORMAT = 1

VENDOR = web.STATIC / "vendor"
_RUNTIME = "ort.wasm.min.mjs"
VENDORED = (
    _RUNTIME,
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "LICENSE.txt",
)
# What the page may do. A page without a server of its own has to say so itself. WebAssembly runs in
# a worker, to which a server's policy applies, and not the page's.
_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; "
    "style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
_HEAD, _START = '<meta charset="utf-8">', '<div id="start" role="status">'
# The page's own words take its place as soon as its scripts run, which they do not from a file.
_UNSERVED = (
    '<p class="verdict">Loading. If nothing happens, this page was opened as a file, or the '
    "browser is too old. It needs a web server, as every page that computes: in its folder run "
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
        classifier: The one loaded from it; it has an ONNX file.
        out: Folder to make.
        progress: Hears how far it is.
        force: Whether to replace an earlier export there.

    Returns:
        The folder.

    Raises:
        BackendError: ONNX Runtime for browsers is missing from this installation.
        ClassifierError: The classifier has no ONNX file, or that cannot be used.
        ParityError: It does not answer reference images as it did when it was trained.
        RunError: The folder is in the way or cannot be written.
    """
    if missing := [name for name in VENDORED if not (VENDOR / name).is_file()]:
        raise BackendError(
            f"ONNX Runtime for browsers is missing ({VENDOR / missing[0]}). In a checkout of "
            "Lucency run `make vendor`, which needs npm; a released wheel holds it."
        )
    if classifier.onnx is None:
        raise ClassifierError(f"{run} has no ONNX file, which the page runs. Train again.")
    refuse_in_the_way(out, force=force)
    drawn = draw(classifier)
    progress.note("Writing the page.")
    files = _page() | _data(run, classifier, drawn)
    files["certificate.json"] = _json(_certificate(classifier, drawn, files))
    with built_folder(out, replace=force) as draft:
        for name, data in files.items():
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(draft / name, data)
    return out


def _page() -> dict[str, bytes]:
    """Return the page's files by path, its engine being the one that computes by itself."""
    files = {f"page/{name}": data for name, (data, _) in web.static_files().items()}
    index = files.pop("page/index.html").decode()
    files["index.html"] = _unserved(index).encode()
    del files["page/server.js"]
    files["page/engine.js"] = (web.STATIC / "local.js").read_bytes()
    for path in sorted((web.STATIC / "local").rglob("*.js")):
        files[f"page/{path.relative_to(web.STATIC).as_posix()}"] = path.read_bytes()
    for name in VENDORED:
        files[f"page/vendor/{name}"] = (VENDOR / name).read_bytes()
    # The binary is built of the same parts as the package for Python, which lists them.
    notices = importlib.metadata.distribution("onnxruntime").locate_file("onnxruntime")
    third = Path(str(notices)) / "ThirdPartyNotices.txt"
    if third.is_file():
        files["page/vendor/ThirdPartyNotices.txt"] = third.read_bytes()
    return files


def _unserved(index: str) -> str:
    """Return the page that says by itself what it may do, and what to do if nothing happens."""
    for place in (_HEAD, _START):
        if index.count(place) != 1:
            raise ValueError(f"index.html has no single {place}")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    return index.replace(_HEAD, f"{_HEAD}\n{policy}").replace(_START, _START + _UNSERVED)


def _data(run: Path, classifier: Classifier, drawn: Drawn) -> dict[str, bytes]:
    """Return what the engine reads, by path."""
    about = web.about(run, classifier) | {"report": False, "neighbours": False}
    files = {
        "about.json": _json(about),
        "answers.json": _json(_terms(classifier)),
        "model.onnx": classifier.onnx or b"",
        "check.safetensors": save(drawn.arrays()),
    }
    if classifier.ood_detector is not None:
        files["ood_detector.safetensors"] = save(dict(classifier.ood_detector.arrays()))
    return files


def _terms(classifier: Classifier) -> dict[str, Any]:
    """Return what the engine needs to know besides the document on the classifier."""
    rule = classifier.conformal.deciding(*ABSTAIN) if classifier.conformal else None
    return {
        "scores": None if rule is None else [*rule.scores],
        "map": {"method": method_of(classifier.spec), "scale": scale_of(classifier.spec)},
        "tolerance": TOLERANCE,
    }


def _certificate(
    classifier: Classifier, drawn: Drawn, files: Mapping[str, bytes]
) -> dict[str, Any]:
    """Return what the folder is made of, and what its ONNX file was compared on."""
    reference_images = classifier.reference_images
    difference = reference_images and reference_images.largest_difference(classifier.predict_pixels)
    if difference and difference > TOLERANCE:
        raise ParityError(
            f"The ONNX file does not answer as the classifier did when it was trained: golden "
            f"images differ by up to {difference:.2g} (at most {TOLERANCE:g} allowed). Nothing "
            "was written; restore the run folder, or train again."
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
            "images": f"{len(drawn.pixels)}, drawn by formula, each time that it is opened",
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
