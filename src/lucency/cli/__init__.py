"""The command line: one function per command, without logic of its own.

    check         check
    train         train, demo
    predict       predict
    evaluate      evaluate, compare, verify
    explain       explain
    export        export
    serve         serve
    options       options that several commands share
    completion    shell completion
    help          option groups and examples in the help
    console/      progress and results on the terminal

Commands import heavy modules only when they run, so that ``--help`` and completion are fast.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lucency.cli.check import check
from lucency.cli.console import escape_unprintable, print_message
from lucency.cli.evaluate import compare, evaluate, verify
from lucency.cli.explain import explain
from lucency.cli.export import export
from lucency.cli.help import FIRST_STEPS, Command, split_docstring
from lucency.cli.predict import predict
from lucency.cli.serve import serve
from lucency.cli.train import demo, train
from lucency.errors import LeakError, LucencyError, ParityError
from lucency.signals import Interrupted, handle_signals

__all__ = ["app", "main"]

# Typer bundles a copy of Click and does not export this base class.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="lucency",
    help="Train an image classifier from a folder, measure how good it is, and use it.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (check, train, predict, explain, evaluate, compare, verify, export, serve, demo):
    _help, _epilog = split_docstring(_command)
    app.command(cls=Command, help=_help, epilog=_epilog)(_command)


def _show_version(wanted: bool) -> None:
    """Print the versions that a bug report needs, without importing the packages."""
    if not wanted:
        return
    import platform
    from importlib.metadata import distributions

    listed = {"keras", "tensorflow", "tensorflow-cpu", "jax", "onnxruntime"}
    found = {each.name.replace("_", "-"): each.version for each in distributions()}
    typer.echo(f"lucency {found['lucency']}")
    typer.echo(f"Python {platform.python_version()}")
    for name in sorted(listed & found.keys()):
        typer.echo(f"{name} {found[name]}")
    raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the versions of Lucency, Python and the libraries, and exit.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line.

    An error that the user can fix prints one line and exits with 2, a failed check with 3. An
    interrupted run that can be resumed exits with 75 (EX_TEMPFAIL of sysexits.h).
    """
    escape_unprintable()
    try:
        with handle_signals():
            outcome = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except Interrupted as stopped:
        print_message(" ".join(["Stopped.", stopped.kept]).strip())
        raise SystemExit(75 if stopped.kept else 128 + stopped.number) from None
    except LucencyError as error:
        _fail(str(error), 3 if isinstance(error, LeakError | ParityError) else 2)
    except _UsageError as error:
        _fail(_usage_message(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        print_message("Stopped.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    raise SystemExit(outcome if isinstance(outcome, int) else 0)


def _usage_message(error: Any) -> str:
    message: str = error.format_message()
    command = getattr(getattr(error, "ctx", None), "command", None)
    if "extra argument" in message and getattr(command, "name", "") in ("check", "train"):
        message += (
            ". Expected one data folder. Put several under one parent folder and give that, with "
            "--labels FILE for their classes."
        )
    return message


def _fail(message: str, code: int) -> None:
    print_message("lucency: " + " ".join(message.split()))
    raise SystemExit(code)
