from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lucency.config import Config
from lucency.errors import ConfigError


def test_file_then_settings_then_options(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('epochs = 3\nrecipe = "article"\nbatch = 8\n')
    config = Config.load(file, ["epochs=5", "learning-rate=1e-3"], batch=16, seed=None)
    assert (config.epochs, config.recipe, config.batch) == (5, "article", 16)
    assert config.learning_rate == 1e-3
    assert config.seed == 0


def test_types_are_converted_from_text() -> None:
    config = Config.load(None, ["flip=no", "size=64", "label_smoothing=0", "positive=NORMAL"])
    assert config.flip is False
    assert config.size == 64
    assert isinstance(config.label_smoothing, float)
    assert config.positive == "NORMAL"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epocs=3", "Did you mean 'epochs'?"),
        ("epochs=many", "must be a whole number. Received: 'many'"),
        ("effort=fast", "one of quick, standard, thorough"),
        ("recipe=articel", "Did you mean 'article'?"),
        ("epochs=0", "between 1 and"),
        ("flip=maybe", "true or false"),
        ("epochs", "key=value"),
        ("max_unreadable=1.5", "between 0 and 1"),
        ("val_fraction=nan", "between 0.01 and 0.9"),
    ],
)
def test_invalid_settings_are_explained(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")) as caught:
        Config.load(None, [setting])
    assert "\n" not in str(caught.value)


def test_a_setting_that_the_plan_can_choose_is_set_by_name() -> None:
    assert Config.load(None, ["precision=float32"]).precision == "float32"
    with pytest.raises(ConfigError, match="mixed_bfloat16"):
        Config.load(None, ["precision=bfloat16"])


def test_invalid_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.load(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("epochs = = 3")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Config.load(broken)
    table = tmp_path / "table.toml"
    table.write_text("[epochs]\nvalue = 3")
    with pytest.raises(ConfigError, match="epochs must be"):
        Config.load(table)


def test_every_field_is_described() -> None:
    described = Config.__doc__ or ""
    for field in dataclasses.fields(Config):
        assert f"        {field.name}: " in described


def test_an_optional_choice_is_set_from_text() -> None:
    assert Config.load(None, ["precision=float32"]).precision == "float32"
    with pytest.raises(ConfigError, match="Did you mean 'float32'"):
        Config.load(None, ["precision=float3"])


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="needs /dev")
def test_a_configuration_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="more than 1,048,576 bytes: /dev/zero"):
        Config.load(Path("/dev/zero"))
