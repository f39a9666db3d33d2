"""Help and shell completion: correct, complete and fast."""

from __future__ import annotations

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from lucency.cli import app
from lucency.cli.completion import run_names, settings, words
from lucency.config import Config

GROUP: Any = typer.main.get_command(app)
HEAVY = "{'keras', 'tensorflow', 'scipy', 'sklearn', 'onnxruntime', 'PIL', 'numpy', 'mlflow'}"


def examples(name: str) -> list[str]:
    """Return the examples in a command's help."""
    context = GROUP.make_context("lucency", [], resilient_parsing=True)
    inner = GROUP.commands[name].make_context(name, [], parent=context, resilient_parsing=True)
    _, _, shown = GROUP.commands[name].get_help(inner).partition("Examples:\n")
    return [line.strip() for line in shown.splitlines() if line.strip()]


@pytest.mark.parametrize("name", GROUP.commands)
def test_the_help_of_a_command_ends_with_valid_examples(name: str) -> None:
    shown = examples(name)
    assert 2 <= len(shown) <= 3
    for line in shown:
        program, command, *arguments = shlex.split(line.partition(" > ")[0])
        assert (program, command) == ("lucency", name)
        context = GROUP.make_context("lucency", [command])
        GROUP.commands[command].make_context(command, arguments, parent=context)


def test_the_program_shows_the_first_steps() -> None:
    context = GROUP.make_context("lucency", [], resilient_parsing=True)
    steps = GROUP.get_help(context).partition("First steps:")[2]
    shown = re.findall(r"^ +lucency (\w+)", steps, re.MULTILINE)
    assert shown == ["demo", "check", "train", "predict"]
    assert {*shown} <= {*GROUP.commands}
    assert max(map(len, steps.splitlines())) <= 80


def test_options_are_shown_once_and_in_groups() -> None:
    context = GROUP.make_context("lucency", [], resilient_parsing=True)
    command = GROUP.commands["train"]
    text = command.get_help(command.make_context("train", [], context, resilient_parsing=True))
    titles = re.findall(r"^(\w+):$", text, re.MULTILINE)
    assert titles == ["Arguments", "Training", "Data", "Evaluation", "Options"]
    for parameter in command.params:
        if parameter.param_type_name == "option":
            option = rf"^  (?:-\w, )?{parameter.opts[0]}(?![\w-])"
            assert len(re.findall(option, text, re.MULTILINE)) == 1


# -- completion ------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for age, name in enumerate(("radiographs-quick-1", "radiographs-quick-2", "other")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "classifier.json").touch()
        os.utime(folder, (age, age))
    (tmp_path / "runs" / "tensorboard").mkdir()
    (tmp_path / "runs" / "radiographs-quick-3.unfinished").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run_names_complete_with_the_newest_first(runs: Path) -> None:
    assert run_names("") == ["other", "radiographs-quick-2", "radiographs-quick-1"]
    assert run_names("radiographs") == ["radiographs-quick-2", "radiographs-quick-1"]
    assert run_names("runs/o") == ["runs/other"]
    assert run_names(f"{runs}/runs/o") == [f"{runs}/runs/other"]
    assert run_names("nowhere/x") == []


def test_completed_values_are_valid_in_the_configuration() -> None:
    for key in ("recipe", "effort", "on_leak", "weights", "operating_point", "track", "precision"):
        assert words(key)(""), key
        for word in words(key)(""):
            Config.load(None, [f"{key}={word}"])
    assert words("effort")("st") == ["standard"]
    assert settings("check") == ["checkpoint_seconds="]
    assert settings("effort=q") == ["effort=quick"]
    assert settings("flip=") == ["flip=true", "flip=false"]


def lucency_at(folder: Path) -> Path:
    """Write the program as an installation would; it fails if it imports anything heavy."""
    program = folder / "lucency"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.argv[0] = 'lucency'\n"
        f"try:\n    from lucency.cli import main; main()\n"
        f"finally:\n    assert not {HEAVY} & set(sys.modules)\n"
    )
    program.chmod(0o755)
    return program


def completed(program: Path, line: str, shell: str = "bash") -> list[str]:
    given = {"_LUCENCY_COMPLETE": f"complete_{shell}", "COMP_WORDS": line,
             "COMP_CWORD": str(len(line.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": line}  # fmt: skip
    done = subprocess.run(
        [program], env={**os.environ, **given}, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.stdout.split()


def spent(work: Callable[[], object]) -> float:
    """Return the processor seconds that child processes needed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_completion_is_fast_and_imports_nothing_heavy(runs: Path) -> None:
    program = lucency_at(runs)
    replies: list[list[str]] = []
    took, bare = [], []
    for _ in range(3):
        bare.append(
            spent(lambda: subprocess.run([sys.executable, "-c", "import typer"], check=True))
        )
        took.append(
            spent(lambda: replies.append(completed(program, "lucency predict radiographs")))
        )
    assert replies == [["radiographs-quick-2", "radiographs-quick-1"]] * 3
    # Processor seconds. On a busy machine everything takes longer, a bare start too.
    assert min(took) < max(0.3, 5 * max(bare))
    assert completed(program, "lucency train radiographs --effort s") == ["standard"]
    assert completed(program, "lucency compare other radio") == [
        "radiographs-quick-2",
        "radiographs-quick-1",
    ]
    assert "thorough" in " ".join(completed(program, "lucency train --effort ", "zsh"))
    assert "evaluate" in completed(program, "lucency ev")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_with_the_generated_script(runs: Path) -> None:
    program = lucency_at(runs)
    script = (
        'eval "$(lucency --show-completion bash)"\n'
        "COMP_WORDS=(lucency evaluate ot); COMP_CWORD=2\n"
        "$(complete -p lucency | sed 's/.*-F \\([^ ]*\\) .*/\\1/') lucency ot evaluate\n"
        'echo "${COMPREPLY[@]}"\ncomplete -p lucency\n'
    )
    shell = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=shell, capture_output=True, text=True, check=True
    )
    reply, how = done.stdout.splitlines()
    assert reply == "other"
    assert "-o default" in how  # then file names
