"""docs/how-to/migrating.md against the installed Keras (signatures, layers), and our options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from conftest import draw_folder
from lucency.backend import load_keras
from lucency.cli import app
from lucency.config import Config
from test_docs import blocks, rows, section

PAGE = Path(__file__).parent.parent / "docs/how-to/migrating.md"
TEXT = PAGE.read_text()


def functions() -> dict[str, Callable[..., Any]]:
    keras = load_keras()
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    return {
        "ImageDataGenerator": ImageDataGenerator.__init__,
        "flow": ImageDataGenerator.flow,
        "flow_from_directory": ImageDataGenerator.flow_from_directory,
        "flow_from_dataframe": ImageDataGenerator.flow_from_dataframe,
        "fit": ImageDataGenerator.fit,
        "image_dataset_from_directory": keras.utils.image_dataset_from_directory,
    }


def arguments(function: Callable[..., Any]) -> list[str]:
    """Return the names in the order in which they are given."""
    stars = {inspect.Parameter.VAR_KEYWORD: "**", inspect.Parameter.VAR_POSITIONAL: "*"}
    found = inspect.signature(function).parameters.values()
    return [stars.get(each.kind, "") + each.name for each in found if each.name != "self"]


@pytest.mark.parametrize("title", functions())
def test_no_argument_is_forgotten_or_made_up(title: str) -> None:
    table = rows(section(TEXT, title))
    assert [row[0].strip("`") for row in table] == arguments(functions()[title])
    for row in table:
        assert all(row[1:3]), row  # ours, and Keras' or "none"
        obvious = title == "fit" or row[0] == "`zca_epsilon`"
        if row[2] == "none" and row[1].startswith("not there") and not obvious:
            assert row[3:], f"{row[0]}: what to do instead?"


def test_every_name_of_keras_exists() -> None:
    keras = load_keras()
    names = set(re.findall(r"`(keras(?:\.\w+)+)", TEXT))
    assert len(names) >= 12
    for name in names:
        thing: Any = keras
        for step in name.split(".")[1:]:
            thing = getattr(thing, step)


def test_every_option_and_key_exists() -> None:
    group: Any = typer.main.get_command(app)
    known = {name for command in group.commands.values() for p in command.params for name in p.opts}
    given = set(re.findall(r"`(--[a-z-]+)", TEXT))
    assert "--labels" in given
    assert given - known == set()
    settings = re.findall(r"--set (\w+=[\w.]+)", TEXT)
    assert len(settings) >= 8
    Config.load(None, settings)


def test_the_recipes_augment_as_documented() -> None:
    from lucency.training.plan import _ARTICLE_AUGMENTATION, _AUGMENTATION

    assert (_AUGMENTATION.rotation, _AUGMENTATION.shift, _AUGMENTATION.zoom) == (10, 0.06, 0.15)
    assert (_AUGMENTATION.stretch, _AUGMENTATION.fill) == (0.1, "reflect")
    assert (_ARTICLE_AUGMENTATION.stretch, _ARTICLE_AUGMENTATION.fill) == (0.2, "nearest")
    assert _ARTICLE_AUGMENTATION.flip_vertical
    assert not _AUGMENTATION.flip_vertical


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_folder(tmp_path / "chest_xray", 50)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    (block,) = blocks(PAGE, "python")
    exec(compile(block.replace("size=224", "size=32"), str(PAGE), "exec"), names)  # noqa: S102
    assert names["pixels"].shape[1:] == (32, 32, 1)
    assert names["mine"].output_shape == (None, 1)
