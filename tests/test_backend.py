"""The choice of the backend, its properties, and its cache of compiled networks."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from lucency import backend
from lucency.errors import BackendError

pytestmark = pytest.mark.backend


def test_only_tensorflow_is_fast_on_a_processor() -> None:
    if backend.device() == "gpu":
        assert not backend.is_slow_here()
        assert not backend.waits_for_memory()
    else:
        assert backend.is_slow_here() == (backend.choose_backend() != "tensorflow")
        assert backend.waits_for_memory() == (backend.choose_backend() == "tensorflow")


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_rests_while_keras_is_imported(
    monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(
        "lucency.backend.choice.import_quietly", lambda _: seen.append(gc.isenabled())
    )
    (gc.enable if enabled else gc.disable)()
    try:
        backend.load_keras()
        assert seen == [False]
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


COMPILE = """
import sys
from pathlib import Path
from lucency import backend
backend.keep_compiled(Path(sys.argv[1]))
import jax
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
print(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((8, 8))))
"""


def compiled_into(folder: Path, **env: str) -> list[str]:
    """Compile something in another process; return the files that it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(folder)],
        env=os.environ | {"KERAS_BACKEND": "jax"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "512.0", done.stderr
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def test_jax_caches_compiled_networks_in_a_private_folder(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    folder = tmp_path / "cache/compiled"
    first = compiled_into(folder)
    assert first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [n for n in compiled_into(folder) if "atime" not in n] == [
        n for n in first if "atime" not in n
    ]


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(0o777)
    assert compiled_into(folder) == []
    (tmp_path / "link").symlink_to(tmp_path)
    assert compiled_into(tmp_path / "link/none", JAX_COMPILATION_CACHE_DIR="") == []


@pytest.mark.parametrize("imported", [False, True])
def test_pytorch_is_rejected_by_name(monkeypatch: pytest.MonkeyPatch, imported: bool) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    if imported:
        keras = SimpleNamespace(backend=SimpleNamespace(backend=lambda: "torch"))
        monkeypatch.setitem(sys.modules, "keras", keras)
    else:
        monkeypatch.delitem(sys.modules, "keras", raising=False)
    with pytest.raises(BackendError, match=r"one of tensorflow, jax\. Received: 'torch'") as caught:
        backend.choose_backend()
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("Set it before Keras is imported.") == imported


def test_a_full_temporary_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("lucency.backend.onnx_file._export_from_tensorflow", full)
    with pytest.raises(BackendError, match=r"No space left on device.*TMPDIR"):
        backend.export_onnx(Mock(export=full), tmp_path / "model.onnx")
    assert full.call_count == 1
