"""The command line: thin, and quick to start; heavy imports live in the commands.

    options       what several commands share, and how they print JSON
    completion    what the shell completes
    help          options in groups, examples at the end
    making        train, check, demo
    using         predict, evaluate, compare, verify, report
    explaining    explain
    exporting     export
    serving       serve

Results go to standard output, all else to standard error.
"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from lucency.cli.console import say
from lucency.cli.explain import explain
from lucency.cli.export import export
from lucency.cli.help import FIRST_STEPS, Command, parted
from lucency.cli.predict import compare, evaluate, predict, report, verify
from lucency.cli.serve import serve
from lucency.cli.train import check, demo, train
from lucency.errors import LeakError, LucencyError, ParityError
from lucency.signals import Interrupted, heard

__all__ = ["app", "main"]

# Typer carries its own copy of Click and does not name this base class in public.
_UsageError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="lucency",
    help="Train an image classifier from a folder, prove how good it is, and put it to work.",
    epilog=FIRST_STEPS,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (
    *(check, train, predict, explain, evaluate, compare, verify, report, export, serve, demo),
):
    _help, _epilog = parted(_command)
    app.command(cls=Command, help=_help, epilog=_epilog)(_command)


def _show_version(wanted: bool) -> None:
    """Print the versions that a report of a fault should name, without importing any of them."""
    if not wanted:
        return
    import platform
    from importlib.metadata import distributions

    told = {"keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "onnxruntime"}
    found = {each.name.replace("_", "-"): each.version for each in distributions()}
    typer.echo(f"lucency {found['lucency']}")
    typer.echo(f"Python {platform.python_version()}")
    for name in sorted(told & found.keys()):
        typer.echo(f"{name} {found[name]}")
    raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show versions: Lucency's, and of what it runs on.",
            callback=_show_version,
            is_eager=True,
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line.

    Errors that a user can put right are one line and exit code 2; a check that fails is 3. What
    was stopped and can be gone on with exits with 75 (EX_TEMPFAIL of sysexits.h).
    """
    try:
        with heard():
            outcome = app(sys.argv[1:] or ["--help"], standalone_mode=False)
    except Interrupted as stopped:
        say(" ".join(["Stopped.", stopped.kept]).strip())
        raise SystemExit(75 if stopped.kept else 128 + stopped.number) from None
    except LucencyError as error:
        _fail(str(error), 3 if isinstance(error, LeakError | ParityError) else 2)
    except _UsageError as error:
        _fail(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        say("Stopped.")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    raise SystemExit(outcome if isinstance(outcome, int) else 0)


def _fail(message: str, code: int) -> None:
    say("lucency: " + " ".join(message.split()))
    raise SystemExit(code)
