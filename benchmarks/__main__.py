"""Run benchmarks, print their tables and write their CSV files.

Without a name, list all benchmarks. A group's name runs all benchmarks of the group; ``make bench``
runs speed, accuracy and trust. The images are $LUCENCY_DATA/chest_xray_native (class folders of
radiographs as the camera saved them) and $LUCENCY_DATA/chest_xray (all of them, 224 x 224 pixels);
without the variable, they are expected in ../shared/data.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.command import ROOT
from benchmarks.results import Figure, Skipped, circumstances, rows_of, show, update, write

QUICK_SAMPLE = 20  # images per class
GROUPS = {
    "speed": {
        "decode": "image files decoded per second, beside Pillow and libjpeg-turbo",
        "steps": "each step of training, beside the limits of the machine",
        "training": "a whole training, beside the article's code, Keras and PyTorch",
        "time_to_auroc": "seconds until a network reaches an AUROC; about an hour",
        "inference": "one image at a time and many at once, beside Keras",
        "scaling": "time and memory of training with more and larger images",
        "startup": "seconds that commands need before they print anything",
        "tracking": "what TensorBoard and MLflow add to a training",
        "cluster": "decoding and predicting on a cluster, beside this machine alone",
        "manifest": "time and memory to split ten million images",
        "shards": "training steps in shards: cost of exact sums, and equal bits",
    },
    "accuracy": {
        "recipes": "every effort on the chest radiographs, with several seeds; hours",
        "ablation": "the default recipe without one of its parts; about an hour",
        "proof": "quick and standard on many data sets, beside a linear model; hours",
        "few_images": "from scratch, frozen or chosen by evidence, on few images per class; hours",
        "fine_tuning": "a backbone with its last stage frozen or fine-tuned; about an hour",
        "shard_accuracy": "four shards with two learning rates, beside none; half an hour",
        "numbers": "last layers that predict numbers, beside ridge regression and the mean",
        "grades": "last layers that know the order of grades, beside one that does not",
        "pooling": "one answer for several images: mean, log-sum-exp or attention; half an hour",
        "labels": "several labels, beside a logistic regression for each",
        "label_phantoms": "several labels at once, beside a network for each; half an hour",
        "other_datasets": "the default recipe on images that are not radiographs",
    },
    "trust": {
        "dicom": "decoded DICOM files, beside an independent reader",
        "leaks": "recall, false alarms and growth of the leak check",
        "copies": "an index of nearest neighbours, beside comparing all images; half an hour",
        "probes": "planted shortcuts and outliers",
        "ood": "images that the out-of-distribution detector flags (needs $LUCENCY_RUN)",
        "explanations": "maps against evidence at known places",
        "coverage": "how often 95 % intervals contain the true value; hours",
        "fold_coverage": "the same, for figures of cross-validation",
        "grade_coverage": "the same, for figures and prediction sets of grades",
        "label_coverage": "the same, and false alarms of comparing, for several labels",
        "value_coverage": "the same, for figures and prediction intervals of numbers",
        "conformal": "how often prediction sets contain the true class",
        "units": "one answer for all images of a patient, beside one for each image",
        "comparison": "false alarms and power of comparing two classifiers",
        "export": "predictions, size and time of every export format",
        "web": "predictions of the page in a browser",
        "backbones": "ONNX files of the networks of keras.applications",
    },
    "reliability": {
        "kills": "SIGKILL at random moments of a training",
        "cluster_kills": "SIGKILL of processes, nodes and drivers of a cluster",
        "fold_kills": "the same while folds are trained there",
        "faults": "a full or broken disk",
        "corrupt_checkpoints": "truncated and altered checkpoints",
        "changed_runs": "random changes in the files of a run, and whether verify names them",
        "memory_growth": "memory over many epochs and predictions",
        "out_of_memory": "training with too little memory",
        "corrupt_images": "corrupt images in a data set",
        "hostile_models": "hostile run folders",
        "fuzz_images": "200,000 mutated image files",
        "planted_words": "words in metadata, and whether any output holds them",
    },
    "service": {
        "threads": "one image on all threads, or one image per thread",
        "throughput": "images per second, beside predicting files and a naive handler",
        "latency": "alone, and at 80 % of the peak",
        "overload": "ten times the peak",
        "known_predictions": "a million images whose predictions are known",
        "shutdown": "SIGTERM under load",
        "reloads": "another classifier under load, some of them rejected",
        "decoder_kills": "SIGKILL of decoders under load",
        "slow_clients": "500 clients that send a byte now and then",
        "malformed_requests": "requests that are not HTTP, or not quite",
        "canaries": "words that must not be logged or stored",
    },
}
_MODULES = {  # of the service, where several benchmarks share one
    "threads": "threads",
    **dict.fromkeys(("throughput", "latency", "overload"), "performance"),
    "known_predictions": "known_predictions",
    **dict.fromkeys(("shutdown", "reloads", "decoder_kills"), "lifecycle"),
    **dict.fromkeys(("slow_clients", "malformed_requests", "canaries"), "hostile_clients"),
}
FIGURES = ("speed", "accuracy", "trust")
NAMES = {name: group for group, benchmarks in GROUPS.items() for name in benchmarks}


def main() -> None:
    if sys.argv[1:2] == ["equal_runs"]:  # it has its own arguments
        from benchmarks.trust import equal_runs

        equal_runs.main(sys.argv[2:])
        return
    given = _arguments()
    if not given.names:
        print(_list())
        return
    failed = False
    for group, benchmarks in GROUPS.items():
        if names := [name for name in benchmarks if {name, group} & {*given.names}]:
            run = {"reliability": _trials, "service": _service}.get(group, _figures)
            failed |= run(names, given)
    sys.exit(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark or a group")
    parser.add_argument("--quick", action="store_true", help="use small samples, as a smoke test")
    parser.add_argument(
        "--results", type=Path, metavar="DIR",
        help="write CSV files here (default: benchmarks/results; build/benchmarks with --quick)",
    )  # fmt: skip
    parser.add_argument("--run", type=Path, help="service: classifier to serve (default: train)")
    parser.add_argument("--heavy", type=Path, help="service: slower classifier for the overload")
    given = parser.parse_args()
    for name in given.names:
        if name not in {**NAMES, **GROUPS}:
            parser.error(f"there is no benchmark {name!r}. Choose from:\n{_list()}")
    default = ROOT / ("build/benchmarks" if given.quick else "benchmarks/results")
    given.results = given.results or default
    return given


def _list() -> str:
    lines = []
    for group, benchmarks in GROUPS.items():
        lines += ["", f"{group}  (make {'bench' if group in FIGURES else f'bench-{group}'})"]
        lines += [f"    {name:<20}{text}" for name, text in benchmarks.items()]
    lines += ["", "equal_runs BEFORE [AFTER]: compare the runs of two checkouts to the last bit"]
    return "\n".join(lines[1:])


def _figures(names: Sequence[str], given: argparse.Namespace) -> bool:
    """Run benchmarks of speed, accuracy and trust; each has a CSV file."""
    from benchmarks.sample_images import NATIVE, images

    for name in names:
        try:
            files = images(NATIVE, QUICK_SAMPLE if given.quick else None)
            module = importlib.import_module(f"benchmarks.{NAMES[name]}.{name}")
            figures: list[Figure] = module.measure(files, quick=given.quick)
        except Skipped as reason:
            print(f"\n{name}: skipped: {reason}")
            continue
        show(name, figures)
        print(f"-> {write(given.results / f'{name}.csv', rows_of(figures))}", flush=True)
    return False  # a missed target is for a person to judge: machines differ


def _trials(names: Sequence[str], given: argparse.Namespace) -> bool:
    """Run benchmarks of reliability; return whether a guarantee did not hold."""
    from benchmarks.trial import timed

    failed, file = False, given.results / "reliability.csv"
    for name in names:
        print(f"\n{name}", flush=True)
        module = importlib.import_module(f"benchmarks.reliability.{name}")
        with TemporaryDirectory(prefix=f"lucency-{name}-") as folder:
            found = timed(module.trials, Path(folder), given.quick)
        for trial in found:
            trial.show()
        made = circumstances()
        rows = [{"benchmark": name} | trial.row | made for trial in found]
        update(file, rows, lambda row: str(row["benchmark"]), [*GROUPS["reliability"]])
        failed |= not all(trial.held for trial in found)
    print(f"\n-> {file}")
    return failed


def save_service(file: Path, name: str, figures: Sequence[Figure]) -> None:
    """Write the figures of one benchmark of the service; those of the others stay in the file."""
    named = [dataclasses.replace(each, name=f"{name}: {each.name}") for each in figures]
    update(
        file, rows_of(named), lambda row: str(row["figure"]).partition(":")[0],
        [*GROUPS["service"]],
    )  # fmt: skip


def _service(names: Sequence[str], given: argparse.Namespace) -> bool:
    """Run benchmarks of the service; return whether a target was missed."""
    from benchmarks.service.setup import Setup, classifiers

    failed, file = False, given.results / "service.csv"
    with TemporaryDirectory() as trained:
        try:
            run, heavy = classifiers(Path(trained), given.run, given.heavy)
        except Skipped as reason:
            print(f"\nservice: skipped: {reason}")
            return False
        for name in names:
            start = time.perf_counter()
            with TemporaryDirectory() as folder:
                module = importlib.import_module(f"benchmarks.service.{_MODULES[name]}")
                setup = Setup(run, heavy, Path(folder), given.quick)
                found: list[Figure] = getattr(module, name)(setup)
            show(f"{name} ({time.perf_counter() - start:.0f} s)", found)
            save_service(file, name, found)
            failed |= any(each.verdict == "MISSED" for each in found)
    print(f"-> {file}")
    return failed


if __name__ == "__main__":
    main()
