"""Predict files at once, as ``lucency predict`` does, in a process of its own.

``python -m benchmarks.load_offline RUN FOLDER MOST`` prints images per second and probabilities.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.results import seconds
from benchmarks.sample import images
from lucency.classifier import Classifier


def main() -> None:
    run, folder, most = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    files = images(folder, most)
    classifier = Classifier.load(run)
    classifier.predict(files[:64])  # ONNX Runtime is loaded and the files are in memory
    found = []
    took = seconds(lambda: found.extend(classifier.predict(files)))
    answers = [each.probabilities for each in found]
    print(json.dumps({"rate": len(files) / took, "answers": answers}))


if __name__ == "__main__":
    main()
