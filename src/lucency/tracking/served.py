"""What MLflow runs to answer with a classifier: this file itself is part of the model.

MLflow executes it from a copy, so it says everything by full names.
"""

from __future__ import annotations

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

from lucency.classifier import Classifier

_MOST = 1_000  # images of one request
_COLUMNS = ("decision", "probabilities", "reason", "prediction_set", "ood_score", "notes")


class Served(PythonModel):  # type: ignore[misc]
    """Answers images, each the base64 text of a PNG, JPEG or DICOM file."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the classifier from its folder; its files are checked, and nothing is unpickled."""
        self._classifier = Classifier.load(context.artifacts["classifier"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - as MLflow calls it
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return one row per image: what ``lucency predict --json`` says, without the file.

        Args:
            context: Not used.
            model_input: Frame whose only column holds base64 text; MLflow makes it of a list.
            params: Not used.

        Raises:
            ValueError: There are too many images, or other columns.
        """
        if model_input.shape[1] != 1 or len(model_input) > _MOST:
            raise ValueError(
                f"Expected one column of at most {_MOST:,} images. "
                f"Received: {', '.join(map(str, model_input))}; {len(model_input):,} rows"
            )
        texts = model_input.iloc[:, 0].tolist()
        with tempfile.TemporaryDirectory() as own:
            files = [Path(own) / str(i) for i in range(len(texts))]
            for file, text in zip(files, texts, strict=True):
                file.write_bytes(_content(text))
            answers = self._classifier.predict(files)
        rows = [answer.to_json(self._classifier.classes) for answer in answers]
        return pd.DataFrame(rows, columns=_COLUMNS, dtype=object)


def _content(text: Any) -> bytes:
    """Return the file; what is no base64 becomes an empty one, which is refused with a reason."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        return b""


set_model(Served())
