"""The command that puts a classifier to work for browsers and programs."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from lucency.cli import options
from lucency.cli.console import say
from lucency.errors import BackendError


def serve(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Port to listen on; 0 for any that is free.")] = 8000,
    token: Annotated[
        str,
        Option(
            help="What clients have to know; needed where others can reach it.",
            envvar="LUCENCY_TOKEN",
            show_envvar=True,
        ),
    ] = "",
    insecure: Annotated[
        bool, Option("--insecure", help="Let other computers use it without a token.")
    ] = False,
    name: Annotated[
        list[str] | None,
        Option(help="Further name under which it is reached; may be repeated.", metavar="HOST"),
    ] = None,
    deadline: Annotated[float, Option(help="Seconds that an answer may take.")] = 10.0,
    workers: options.Workers = None,
    log: Annotated[bool, Option("--log", help="Print a line for every request.")] = False,
) -> None:
    """Answer over HTTP: a page for people, and interfaces for programs.

    SIGTERM and Ctrl-C end it when what it has accepted is answered; SIGHUP loads the run again.

    Examples:
        lucency serve chest_xray-quick-1
        lucency serve chest_xray-quick-1 --port 0 --log
    """
    from lucency.serve import Settings

    settings = Settings(
        host=host, port=port, token=token, insecure=insecure, names=tuple(name or ()),
        deadline=deadline, workers=workers or 0, log=log,
    ).checked()  # fmt: skip
    folder = options.run_folder(run)
    try:
        from lucency.serve.http.server import serve as serve_run
    except ImportError as error:
        raise BackendError(
            f"Serving needs a library that is missing ({error.name}). "
            'Install it: pip install "lucency[serve]"'
        ) from error
    serve_run(folder, settings, lambda address: say(f"{folder.name} answers on {address}"))
