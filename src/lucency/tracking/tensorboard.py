"""Event files for TensorBoard, written with its protocol buffers and without TensorFlow.

    runs/tensorboard/NAME/events.out.tfevents.TIME.lucency

They are beside the run folder, which has another name until it is complete, so TensorBoard shows
all runs with ``--logdir runs/tensorboard``. One record holds all metrics of an epoch, so an epoch
is logged completely or not at all.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lucency.evaluation import Predictions, read_predictions
from lucency.io import read_bytes
from lucency.run_folder.files import EVALUATION, PLAN, PREDICTIONS
from lucency.tracking.curves import IMAGE, THRESHOLDS, counts, roc_image
from lucency.tracking.tracker import SPLITS, Start, of_epoch, of_evaluation

FOLDER = "tensorboard"
_PATTERN = "events.out.tfevents.*"
_LARGEST = 2**26  # bytes of an event file; an epoch takes about 500
_GROUPS = {
    "loss": "loss/train", "val_loss": "loss/validation",
    "accuracy": "accuracy/train", "val_accuracy": "accuracy/validation",
    "val_auroc": "auroc/validation",
}  # fmt: skip


class EventFiles:
    """Writes the event file of a run."""

    def begin(self, start: Start) -> str:
        """Open the file; write the plan as text and as hyperparameters, unless resumed."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder = start.target.parent / FOLDER / start.target.name
        self.folder.mkdir(parents=True, exist_ok=True)
        before = sorted(self.folder.glob(_PATTERN))
        if not start.resumed:  # from an attempt that kept no checkpoint
            for old in before:
                old.unlink()
        self._last = max((_last_step(path) for path in before), default=0) if start.resumed else 0
        name = f"events.out.tfevents.{time.time():.6f}.lucency"
        self._records: Any = RecordWriter((self.folder / name).open("wb", buffering=0))
        self._write(file_version="brain.Event:2")
        if not start.resumed:
            self._plan(start)
        return f"To watch it: tensorboard --logdir {self.folder.parent}"

    def epoch(self, row: Any) -> None:
        """Write the metrics of an epoch."""
        if row.epoch <= self._last:
            return
        self._scalars(
            {_GROUPS.get(name, f"training/{name}"): value for name, value in of_epoch(row).items()},
            row.epoch,
        )

    def finish(self, folder: Path) -> str:
        """Write the final metrics as scalars and as a table, and close the file."""
        document = EVALUATION.read(folder)
        best = int(PLAN.read(folder)["best_epoch"])
        self._scalars(of_evaluation(document), best)
        for split in SPLITS:
            if document.get(split):
                self._text(f"metrics/{split}", _table(document[split]["metrics"]))
                self._curves(split, document[split]["curves"], best)
                for of_label in (document[split].get("labels") or {}).values():
                    self._curves(split, of_label["curves"], best)
        for found in read_predictions(folder / PREDICTIONS):
            if found.values is not None:
                continue  # bins of a number are no classes to be detected
            self._precision_recall(found, document["positive"], best)
        self._end(success=True)
        return ""

    def stop(self, interrupted: bool) -> None:
        """Close the file; an interrupted run can be resumed, so it does not end there."""
        self._end(success=None if interrupted else False)

    def _end(self, *, success: bool | None) -> None:
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        if success is not None:
            status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
            info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
            data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
            self._hparams(metadata.SESSION_END_INFO_TAG, data)
        self._records.close()

    def _plan(self, start: Start) -> None:
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        rows = [(c["name"], c["value"], c["reason"]) for c in start.plan["choices"]]
        self._text("plan", _markdown(("setting", "value", "reason"), rows))
        info = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
        info.group_name = start.target.name
        for name, value in start.parameters().items():
            if isinstance(value, bool):
                info.hparams[name].bool_value = value
            elif isinstance(value, str):
                info.hparams[name].string_value = value
            else:
                info.hparams[name].number_value = value
        data = plugin_data_pb2.HParamsPluginData(session_start_info=info)
        self._hparams(metadata.SESSION_START_INFO_TAG, data)

    def _scalars(self, figures: Mapping[str, float], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in figures.items()]
        self._write(summary=Summary(value=values), step=step)

    def _text(self, tag: str, markdown: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.text import metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        about = metadata.create_summary_metadata(display_name=tag, description="")
        tensor = make_tensor_proto(markdown, dtype="string", shape=())
        value = Summary.Value(tag=f"{tag}/text_summary", tensor=tensor, metadata=about)
        self._write(summary=Summary(value=[value]))

    def _curves(self, split: str, curves: Mapping[str, Any], step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        for name, curve in curves.items():
            image = Summary.Image(encoded_image_string=roc_image(curve["roc"]), **IMAGE)
            value = Summary.Value(tag=f"roc/{split}/{name}", image=image)
            self._write(summary=Summary(value=[value]), step=step)

    def _precision_recall(self, found: Predictions, positive: str | None, step: int) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.pr_curve import metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        for k, name in enumerate(found.classes):
            if positive in (None, name):
                tag = f"{found.split}/{name}"
                about = metadata.create_summary_metadata(tag, "", THRESHOLDS)
                truth, known = found.labels == k, np.ones(len(found.labels), bool)
                if found.targets is not None:
                    truth, known = found.targets[:, k] > 0, found.targets[:, k] >= 0
                drawn = counts(truth[known], found.probabilities[known, k])
                value = Summary.Value(tag=tag, tensor=make_tensor_proto(drawn), metadata=about)
                self._write(summary=Summary(value=[value]), step=step)

    def _hparams(self, tag: str, data: Any) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import metadata

        about = metadata.create_summary_metadata(data)
        value = Summary.Value(tag=tag, tensor=metadata.NULL_TENSOR, metadata=about)
        self._write(summary=Summary(value=[value]))

    def _write(self, step: int = 0, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), step=step, **content).SerializeToString())
        self._records.flush()


def _last_step(path: Path) -> int:
    """Return the last complete epoch of a file."""
    from tensorboard.compat.proto.event_pb2 import Event

    return max((Event.FromString(data).step for data in _records_of(path)), default=0)


def _records_of(path: Path) -> Iterator[bytes]:
    """Yield the records of an event file: length, its checksum, content, its checksum."""
    data, at = read_bytes(path, _LARGEST), 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 12 + length + 4 > len(data):
            return
        yield data[at + 12 : at + 12 + length]
        at += 12 + length + 4


def _table(metrics: Mapping[str, Any]) -> str:
    rows = []
    for name, each in metrics.items():
        ends = ("" if each[key] is None else f"{each[key]:.4f}" for key in ("value", "low", "high"))
        rows.append((name, *ends, each["method"]))
    return _markdown(("metric", "value", "95 % from", "to", "method"), rows)


def _markdown(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    cells = (" | ".join(str(cell).replace("|", "\\|") for cell in line) for line in lines)
    return "\n".join(f"| {line} |" for line in cells)
