"""What the backend is told, and what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lucency import backend

pytestmark = pytest.mark.backend


def test_only_tensorflow_is_quick_on_a_processor() -> None:
    if backend.device() == "gpu":
        assert not backend.is_slow_here()
        assert not backend.waits_for_memory()
    else:
        assert backend.is_slow_here() == (backend.choose_backend() != "tensorflow")
        assert backend.waits_for_memory() == (backend.choose_backend() == "tensorflow")


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
    """Have a process compile something; return the files that it left."""
    given = os.environ | {"KERAS_BACKEND": "jax"} | env
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, str(folder)],
        env=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "512.0", done.stderr
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []


def test_jax_keeps_what_it_compiles_in_a_folder_of_its_owner(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    folder = tmp_path / "cache/compiled"
    first = compiled_into(folder)
    assert first
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [n for n in compiled_into(folder) if "atime" not in n] == [
        n for n in first if "atime" not in n
    ]


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    folder = tmp_path / "compiled"
    folder.mkdir()
    folder.chmod(0o777)
    assert compiled_into(folder) == []
    (tmp_path / "link").symlink_to(tmp_path)
    assert compiled_into(tmp_path / "link/none", JAX_COMPILATION_CACHE_DIR="") == []
