"""The script that MLflow predicts with: this file is part of the model.

MLflow runs a copy of it, so all imports are absolute.
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


class ImageClassifier(PythonModel):  # type: ignore[misc]
    """Predicts images, each an image file as base64 text."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the classifier from its folder; files are checked, nothing is unpickled."""
        self._classifier = Classifier.load(context.artifacts["classifier"])

    def predict(
        self,
        context: PythonModelContext,  # noqa: ARG002 - as MLflow calls it
        model_input: pd.DataFrame,
        params: Mapping[str, Any] | None = None,  # noqa: ARG002
    ) -> pd.DataFrame:
        """Return one row per image: the output of ``lucency predict --json`` without the file.

        Args:
            context: Not used.
            model_input: A frame with one column of base64 text; MLflow converts lists.
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
            predictions = self._classifier.predict(files)
        rows = [each.to_json(self._classifier.classes) for each in predictions]
        columns = [*_COLUMNS, "labels"] if self._classifier.spec.labels else [*_COLUMNS]
        return pd.DataFrame(rows, columns=columns, dtype=object)


def _content(text: Any) -> bytes:
    """Return the file; invalid base64 becomes an empty file, which is rejected with a reason."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        return b""


set_model(ImageClassifier())
