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
    shortage      one line where the machine lacks memory, threads, files or disk space
    console/      progress and results on the terminal

Commands import heavy modules only when they run, so that ``--help`` and completion are fast.
Results go to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from lucency.cli.check import check
from lucency.cli.console import OutputError, discard_output, print_message, standard_streams
from lucency.cli.evaluate import compare, evaluate, verify
from lucency.cli.explain import explain
from lucency.cli.export import export
from lucency.cli.help import FIRST_STEPS, Command, split_docstring
from lucency.cli.predict import predict
from lucency.cli.serve import serve
from lucency.cli.shortage import shortage_of
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
    os.environ.setdefault("JOBLIB_MULTIPROCESSING", "0")  # unused, and it warns without /dev/shm
    # Between two products its threads wait busily, which takes processors from all else.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.umask(os.umask(0o002) | 0o002)  # nobody else may change what we write
    with standard_streams():
        raise SystemExit(_exit_code())


def _exit_code() -> int:  # noqa: PLR0911 - one per kind of end
    """Run the command, print how it failed, and return the exit code."""
    try:
        with handle_signals():
            outcome = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        sys.stdout.flush()
    except Interrupted as stopped:
        print_message(" ".join(["Stopped.", stopped.kept]).strip())
        return 75 if stopped.kept else 128 + stopped.number
    except OutputError as error:
        discard_output()
        return 141 if error.broken else _fail(str(error), 2)
    except LucencyError as error:
        return _fail(str(error), 3 if isinstance(error, LeakError | ParityError) else 2)
    except _UsageError as error:
        return _fail(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        print_message("Stopped.")
        return 130
    except (MemoryError, OSError, ImportError, RuntimeError) as error:
        if line := shortage_of(error):
            return _fail(line, 2)
        raise
    return outcome if isinstance(outcome, int) else 0


def _fail(message: str, code: int) -> int:
    print_message("lucency: " + " ".join(message.split()))
    return code
