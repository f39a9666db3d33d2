"""Nothing tells its maker what is run on this computer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving import save_classifier

NAME = "ORT_DISABLE_TELEMETRY"


def ran(home: Path, script: str, *arguments: str, **given: str) -> str:
    """Run a script with nothing in the environment that would keep telemetry quiet anyway."""
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={"HOME": str(home), "PATH": os.environ["PATH"], **given},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def written(home: Path) -> list[str]:
    return [path.name for path in home.rglob("*") if "Microsoft" in path.parts and path.is_file()]


@pytest.mark.skipif(sys.platform == "win32", reason="it is part of the system there")
def test_onnx_runtime_keeps_to_itself(tmp_path: Path) -> None:
    run = save_classifier(tmp_path / "run")
    plain = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
    ran(tmp_path / "plain", plain, str(run / "model.onnx"))
    if not written(tmp_path / "plain"):
        pytest.skip("this build of ONNX Runtime writes nothing for telemetry by itself either")
    ours = (
        "import sys, numpy as np, lucency\n"
        "classifier = lucency.Classifier.load(sys.argv[1])\n"
        "shape = (1, *classifier.spec.size, classifier.spec.channels)\n"
        "print(classifier.predict_pixels(np.zeros(shape, np.uint8)).shape)"
    )
    assert ran(tmp_path / "ours", ours, str(run)) == "(1, 2)"
    assert written(tmp_path / "ours") == []


def test_a_person_may_decide_otherwise(tmp_path: Path) -> None:
    script = f"import os, lucency; print(os.environ[{NAME!r}])"
    assert ran(tmp_path / "unasked", script) == "1"
    assert ran(tmp_path / "asked", script, **{NAME: "0"}) == "0"
