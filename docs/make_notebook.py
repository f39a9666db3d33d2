"""Run notebooks/step_by_step.ipynb on drawn radiographs and keep what the cells show.

The outputs are committed, so that the notebook can be read without running it. They are of drawn
radiographs only:
images of patients do not belong in the repository.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parent.parent / "notebooks/step_by_step.ipynb"


def executed(notebook: Any, folder: Path) -> Any:
    """Run all cells in ``folder``, with an IPython that has nobody's settings."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with tempfile.TemporaryDirectory() as settings:
        given = dict.fromkeys(("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"), settings)
        client = NotebookClient(
            notebook,
            timeout=1800,
            record_timing=False,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )
        given["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        with patch.dict(os.environ, given):
            return client.execute()


def main() -> None:
    """Write the notebook again, with outputs."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(nbformat.read(NOTEBOOK, as_version=4), Path(folder))
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
