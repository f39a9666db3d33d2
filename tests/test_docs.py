"""The documentation against the program: examples run, and every name is the one in use."""

from __future__ import annotations

import ast
import csv
import dataclasses
import importlib.util
import itertools
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import typer.main
from benchmarks import small_network

from conftest import draw_folder
from lucency.cli import app, main
from lucency.config import _RANGES, Config
from lucency.dataset.scan import scan
from lucency.run_folder.files import FOLDS
from lucency.signals import Interrupted
from lucency.training import plan
from test_layers import FLOOR

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
RUN_FOLDER = (ROOT / "docs/reference/run-folder.md").read_text()
CONFIGURATION = (ROOT / "docs/reference/configuration.md").read_text()


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def section(text: str, title: str) -> str:
    """Return the text below a heading, up to the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the tables in a text, without their headers."""
    lines = [line.strip("| ") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    rules = [i for i, row in enumerate(cells) if set("".join(row)) <= set("-")]
    return [row for i, row in enumerate(cells) if i not in rules and i + 1 not in rules]


def keys(title: str) -> list[str]:
    """Return the first column of the table under a heading of run-folder.md."""
    return [row[0].strip("`") for row in rows(section(RUN_FOLDER, title))]


# Commands


def make_commands() -> Any:
    spec = importlib.util.spec_from_file_location("make_commands", ROOT / "docs/make_commands.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_commands_are_documented_as_they_are() -> None:
    again = "run: python docs/make_commands.py"
    assert (ROOT / "docs/reference/commands.md").read_text() == make_commands().commands_page(), (
        again
    )


def test_no_option_is_missing_from_the_commands() -> None:
    text = (ROOT / "docs/reference/commands.md").read_text()
    group: Any = typer.main.get_command(app)
    assert set(group.commands) == {
        "check", "train", "predict", "explain", "evaluate", "compare", "verify",
        "export", "serve", "demo",
    }  # fmt: skip
    for name, command in group.commands.items():
        inside = section(text, f"lucency {name}")
        for parameter in command.params:
            names = parameter.opts if parameter.param_type_name == "option" else [parameter.name]
            for each in names:
                assert re.search(rf"(?<![\w-]){re.escape(each)}(?![\w-])", inside), (name, each)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Yield every command of the ``sh`` blocks, comments removed."""
    for page, name in zip(PAGES, NAMES, strict=True):
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield name, words


def test_every_command_in_the_pages_exists() -> None:
    group: Any = typer.main.get_command(app)
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    seen = 0
    for page, (program, *arguments) in command_lines():
        if program == "make":
            assert arguments[0] in targets, page
        elif Path(program).name == "lucency":
            seen += 1
            assert arguments[0] in group.commands, (page, arguments)
            context = group.make_context("lucency", list(arguments))
            command = group.commands[arguments[0]]
            command.make_context(
                arguments[0], arguments[1:], parent=context
            )  # rejects unknown options
            settings = [b for a, b in itertools.pairwise(arguments) if a == "--set"]
            Config.load(None, settings)
    assert seen >= 5


def test_an_unknown_option_would_be_noticed() -> None:
    group: Any = typer.main.get_command(app)
    context = group.make_context("lucency", ["train", "x"])
    with pytest.raises(Exception, match="No such option: --no-such"):
        group.commands["train"].make_context("train", ["x", "--no-such"], parent=context)


# Configuration


def config_table() -> dict[str, list[str]]:
    known = {field.name for field in dataclasses.fields(Config)}
    head = CONFIGURATION.partition("## What the plan decides")[0]
    return {row[0].strip("`"): row[1:] for row in rows(head) if row[0].strip("`") in known}


@pytest.mark.parametrize("field", dataclasses.fields(Config), ids=lambda field: field.name)
def test_every_key_is_documented_with_its_default_and_range(field: Any) -> None:
    table = config_table()
    assert field.name in table, f"{field.name} is not in docs/reference/configuration.md"
    default, allowed, meaning = table[field.name]
    in_toml = {None: "by plan", "": "empty", "False": "`false`"}
    given = field.default if field.default is None else str(field.default)
    assert default == in_toml.get(given, f"`{given}`")
    assert len(meaning) > 20
    if field.name in _RANGES:
        low, high = (float(end.replace(",", "")) for end in allowed.split(" to "))
        assert (low, high) == _RANGES[field.name]
    hint = typing.get_type_hints(Config)[field.name]
    for choice in (c for h in (hint, *typing.get_args(hint)) for c in typing.get_args(h)):
        if isinstance(choice, str):
            assert f"`{choice}`" in allowed


def test_no_key_is_documented_that_does_not_exist() -> None:
    head = CONFIGURATION.partition("## What the plan decides")[0]
    assert {row[0].strip("`") for row in rows(head)} == set(config_table())


def test_the_efforts_are_documented_as_they_are() -> None:
    text = section(CONFIGURATION, "What the plan decides")
    table = {row[0].strip("`"): row[1:] for row in rows(text)}
    for name, effort in plan.LEVELS.items():
        side = Config.load(None, [f"effort={name}"]).input_size[0]
        network = f"width {effort.width}, blocks {'-'.join(map(str, effort.blocks))}"
        expected = [f"{side}", network, f"{effort.views:,}", f"{effort.max_epochs}"]
        assert table[name] == expected, "docs/reference/configuration.md"
    assert table["size"][2] == str(Config(recipe="article").input_size[0])


def test_the_toml_examples_load(tmp_path: Path) -> None:
    examples = [block for page in PAGES for block in blocks(page, "toml")]
    assert examples
    for number, block in enumerate(examples):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        Config.load(file)


# Pages


def anchor(heading: str) -> str:
    """Return the anchor that a heading gets on a page."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_link_is_dead(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https://", "http://")):
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{page.name} links to {link}"


def rooms() -> list[tuple[str, str]]:
    """Return the rooms in the map of the source code, each with its floor."""
    (text,) = blocks(ROOT / "docs/explanation/architecture.md", "text")
    lines = (line.split() for line in text.splitlines()[1:])
    return [(words[0], words[1]) for words in lines]


def test_the_architecture_names_every_room_once() -> None:
    source = ROOT / "src/lucency"
    files = [path.name for path in source.glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in source.glob("*/__init__.py")]
    assert sorted(name for name, _ in rooms()) == sorted([*files, *packages])


def test_the_architecture_shows_the_rooms_by_floor() -> None:
    floors = [FLOOR[name.removesuffix("/").removesuffix(".py")] for name, _ in rooms()]
    assert floors == sorted(floors) == [int(floor) for _, floor in rooms()]


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(r"`([\w./]+/[\w.]*)`", text)
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists() or (ROOT / "src/lucency" / path).exists(), path


def test_the_place_for_results_is_there_and_nothing_is_of_one_machine() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "| task | recipe |" in readme.partition("<!-- results -->")[2].partition("<!-- /res")[0]
    for page in PAGES:
        text = page.read_text()
        assert not re.search(r"/(work|home|root|tmp)/|[a-z]:\\|index-url", text), page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the pages as a website; a warning of the builder fails the build."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-b", "html"]
    done = subprocess.run(
        [*command, ROOT / "docs", folder], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_website_holds_every_page_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {
        path.relative_to(ROOT / "docs").with_suffix("") for path in PAGES if "docs" in path.parts
    }
    assert pages <= {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|img|iframe|link)[^>]*?(?:src|href)=\"([^\"]+)", page.read_text()
        )
        assert not [each for each in loaded if "//" in each], page


# Examples


class Examples(typing.NamedTuple):
    """The folder and the names after all examples have run."""

    folder: Path
    names: dict[str, Any]


def run_examples(names: dict[str, Any]) -> None:
    """Run the blocks of README and docs/how-to/python.md in one go, equal blocks once."""
    pages = (ROOT / "README.md", ROOT / "docs/how-to/python.md")
    for block in dict.fromkeys(block for page in pages for block in blocks(page, "python")):
        # On drawn images one short epoch is enough to see that every line works.
        small = 'effort="quick", size=32, epochs=1, folds=0, precision="float32"'
        exec(compile(block.replace('effort="quick"', small), block, "exec"), names)  # noqa: S102


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examples]:
    """Run all examples on drawn images with a few faults, as a reader would run them."""
    folder = tmp_path_factory.mktemp("reader")
    data = draw_folder(folder / "chest_xray", 50)
    (data / "dark/broken.png").write_bytes(b"")
    (data / "dark/notes.txt").write_text("not an image")
    copied = data / "dark/patient0000_0.png"
    copied.with_stem("patient0000_9").write_bytes(copied.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LUCENCY_CACHE", str(folder / "cache"))
        names: dict[str, Any] = {"__name__": "example"}
        with small_network.small_network():
            run_examples(names)
        yield Examples(folder, names)


@pytest.mark.slow
def test_the_python_examples_run(examples: Examples) -> None:
    names = examples.names
    assert names["tutorial"].count_params() == 3_706_049
    assert names["pixels"].shape == (3, 32, 32, 1)
    assert names["network"].name == "default"
    assert names["found"].metrics["sensitivity"].value == pytest.approx(2 / 3)
    assert names["residual"].output_shape == (None, 5)
    assert (examples.folder / "alone/classifier.json").exists()


def test_the_readme_and_the_python_page_show_the_same_first_example() -> None:
    assert (
        blocks(ROOT / "README.md", "python") == blocks(ROOT / "docs/how-to/python.md", "python")[:1]
    )


def test_the_labels_example_makes_three_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("NORMAL/IM-0001-0001", "PNEUMONIA/person1_bacteria_1", "PNEUMONIA/person1_virus_2")
    for split in ("train", "val", "test"):
        for name in names:
            path = tmp_path / "chest_xray" / split / f"{name}.jpeg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    debris = tmp_path / "chest_xray/__MACOSX/train/NORMAL/._IM-0001-0001.jpeg"
    debris.parent.mkdir(parents=True)
    debris.touch()
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(ROOT / "docs/reference/data.md", "python")
    exec(compile(block, "docs/reference/data.md", "exec"), {})  # noqa: S102
    found = scan(Path("chest_xray"), labels=Path("three.csv"))
    assert found.classes == ("bacteria", "NORMAL", "virus")
    assert len(found.entries) == 9


# The run folder


def paths(value: Any, classes: tuple[str, ...], stops: tuple[str, ...] = ()) -> set[str]:
    """Return the dotted paths to all values of a document, as the tables write them."""

    def walk(value: Any, at: str) -> Iterator[str]:
        estimate = isinstance(value, Mapping) and value.keys() == {"value", "low", "high", "method"}
        if at in stops or estimate:
            yield at
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                yield from walk(inner, f"{at}.{step(at, key)}".lstrip("."))
        elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
            for each in value:
                yield from walk(each, f"{at}[]")
        else:
            yield at

    def step(at: str, key: str) -> str:
        if key in classes:
            return "<class>"
        if at.endswith("metrics"):
            return "<metric>"
        return "<split>" if at.endswith("counts") else key

    return set(walk(value, ""))


def agrees(found: set[str], documented: set[str], document: Any) -> None:
    """Compare keys; what is an empty list or null in a document may have documented keys."""
    hollow = tuple(
        f"{at}{inside}" for at in sorted(found) if at in _hollow(document) for inside in ("[]", ".")
    )
    beyond = {key for key in documented - found if hollow and key.startswith(hollow)}
    bare = {
        at
        for at in found - documented
        if any(key.startswith((f"{at}[]", f"{at}.")) for key in documented)
    }
    assert sorted(found - bare) == sorted(documented - beyond)


def _hollow(document: Any, at: str = "") -> set[str]:
    """Return the paths at which a document holds an empty list or null."""
    if document is None or document == []:
        return {at}
    if isinstance(document, Mapping):
        inner = ((f"{at}.{key}".lstrip("."), value) for key, value in document.items())
    elif isinstance(document, list):
        inner = ((f"{at}[]", value) for value in document)
    else:
        return set()
    return {each for path, value in inner for each in _hollow(value, path)}


def test_the_paths_of_a_document_are_found() -> None:
    document = {"a": {"b": 1}, "cat": [{"n": 1}, {"m": None}], "counts": {"val": {"dog": [1, 2]}}}
    assert paths(document, ("dog",)) == {"a.b", "cat[].n", "cat[].m", "counts.<split>.<class>"}
    assert paths(document, ("dog",), stops=("a", "cat")) == {"a", "cat", "counts.<split>.<class>"}


@pytest.fixture(scope="module")
def run(examples: Examples) -> Path:
    return examples.folder / "runs/mine"


def document(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


CLASSES = ("dark", "light")
# With a time as effort: see test_budget.py; with folds: see test_folds.py.
ON_REQUEST = (
    *("start.", "time_budget.", "seconds.measuring", "training.folds", "training.frozen"),
)


@pytest.mark.slow
def test_every_file_of_a_run_is_documented(run: Path) -> None:
    first = RUN_FOLDER.partition("## evaluation.json")[0]
    documented = {row[0].strip("`").partition("/")[0] for row in rows(first)}
    on_request = {"neighbours.safetensors", "subgroups.csv", "folds.csv"}
    assert documented - on_request == {path.name for path in run.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("evaluation.json", ("validation", "test")),
        ("classifier.json", ("architecture.parameters",)),
        ("plan.json", ("config",)),
        ("audit.json", ("leaks.patients",)),
        ("test_evaluations.json", ()),
        ("robustness.json", ()),
        ("explanation.json", ()),
        ("checklist.json", ()),
        ("images/index.json", ()),
    ],
)
def test_every_key_of_a_document_is_documented(
    run: Path, name: str, stops: tuple[str, ...]
) -> None:
    found = document(run, name)
    optional = {key for key in keys(name) if key.startswith(ON_REQUEST)}
    agrees(paths(found, CLASSES, stops), set(keys(name)) - optional, found)
    assert found["format"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
def test_every_key_of_a_split_is_documented(run: Path, split: str) -> None:
    found = document(run, "evaluation.json")[split]
    agrees(paths(found, CLASSES), set(keys("A split")), found)
    figures = {row[0].strip("`"): row[1:] for row in rows(section(RUN_FOLDER, "The metrics"))}
    assert set(found["metrics"]) == {name for name, (whole, _) in figures.items() if whole == "yes"}
    alone = {name for name, (_, each) in figures.items() if each == "yes"}
    page = (ROOT / "docs/reference/metrics.md").read_text()
    for name in CLASSES:
        assert set(found["per_class"][name]["metrics"]) == alone
    for name, estimate in found["metrics"].items():
        assert set(estimate) == set(keys("An estimate"))
        assert f"(`{name}`)" in page
    assert len(found["curves"]["light"]["roc"]["fpr"]) == 101


@pytest.mark.slow
def test_every_method_of_an_interval_is_explained(run: Path) -> None:
    table = rows(section((ROOT / "docs/reference/metrics.md").read_text(), "Intervals"))
    explained = {row[0].strip("`") for row in table}
    evaluation = document(run, "evaluation.json")
    for split in ("validation", "test"):
        for estimate in evaluation[split]["metrics"].values():
            method = re.sub(r"\d+", "N", estimate["method"])
            endings = {f"...{ending}" for ending in re.findall(r", [a-z ]+$", method)}
            assert method in explained or endings & explained, method


@pytest.mark.slow
def test_the_columns_of_the_tables_are_documented(run: Path) -> None:
    documented = [
        block.strip().split(",") for block in blocks(ROOT / "docs/reference/run-folder.md", "csv")
    ]
    names = ("predictions.csv", "history.csv", "folds.csv", "split.csv")
    for name, expected in zip(names, documented, strict=False):
        header = list(FOLDS.columns)  # this run has none
        if name != FOLDS.name:
            with (run / name).open(newline="") as file:
                header = next(csv.reader(file))
        assert list(dict.fromkeys(re.sub("^p_.*", "p_<class>", x) for x in header)) == expected


@pytest.mark.slow
def test_the_inputs_and_outputs_of_the_onnx_file_are_documented(run: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(run / "model.onnx", providers=["CPUExecutionProvider"])
    documented = [row[0].split() for row in rows(section(RUN_FOLDER, "model.onnx"))]
    given = [["input", each.name] for each in session.get_inputs()]
    given += [["output", each.name] for each in session.get_outputs()]
    assert sorted(given) == sorted([kind, name.strip("`")] for kind, name in documented)


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["lucency", *map(str, arguments)])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
def test_the_output_of_json_is_documented(
    examples: Examples,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def printed(*arguments: object) -> Any:
        assert called(monkeypatch, *arguments) == 0
        return json.loads(capsys.readouterr().out)

    capsys.readouterr()
    small = ("--effort", "quick", "--set", "size=32", "--set", "epochs=1", "--folds", "0")
    trained = printed("train", "chest_xray", *small, "--json", "--run", "another")
    assert set(trained) == set(keys("lucency train --json"))
    agrees(paths(trained["test"], CLASSES), set(keys("A split")), trained["test"])
    measured = printed("evaluate", run, "--json")
    agrees(paths(measured, CLASSES), set(keys("A split")), measured)
    image = examples.folder / "chest_xray/light/patient1000_0.png"
    predictions = printed("predict", run, image, "chest_xray/dark/broken.png", "--json")
    assert {f"[].{key}" for each in predictions for key in each} == set(
        keys("lucency predict --json")
    )
    assert predictions[1]["decision"] is predictions[1]["probabilities"] is None
    called(monkeypatch, "predict", run, image, "--csv")
    header = capsys.readouterr().out.splitlines()[0]
    expected = blocks(ROOT / "docs/reference/run-folder.md", "csv")[-1].strip()
    assert header == expected.replace("p_<class>", "p_dark,p_light")


@pytest.mark.slow
def test_the_exit_codes_are_those_documented(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = [
        called(monkeypatch, "verify", run, "--redraw"),
        called(monkeypatch, "train", "no such folder"),
    ]
    assert seen == [0, 2]
    assert len(capsys.readouterr().err.splitlines()) == 1
    changed = shutil.copytree(run, tmp_path / "changed")
    (changed / "report.html").write_text("better")
    seen.append(called(monkeypatch, "verify", changed))
    for stopped in (Interrupted(signal.SIGTERM), KeyboardInterrupt()):
        monkeypatch.setattr("lucency.pipeline.train.fill", Mock(side_effect=stopped))
        seen.append(called(monkeypatch, "train", "chest_xray", "--run", "fresh"))
    assert [str(code) for code in seen] == keys("Exit codes")[:5]


def test_the_examples_are_written_as_the_code_is() -> None:
    for page in PAGES:
        for block in blocks(page, "python"):
            ast.parse(block)
            assert max(map(len, block.splitlines())) <= 100, page
