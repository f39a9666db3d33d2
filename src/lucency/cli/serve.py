"""The command ``serve``."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from lucency.cli import options
from lucency.cli.console import print_message
from lucency.errors import BackendError


def serve(  # noqa: PLR0913, PLR0917 - one per option
    run: options.RunFolder,
    host: Annotated[str, Option(help="Listen on this address.")] = "127.0.0.1",
    port: Annotated[int, Option(help="Listen on this port; 0 takes any free port.")] = 8000,
    token: Annotated[
        str,
        Option(
            help="Require this token from clients; needed if other computers can connect.",
            envvar="LUCENCY_TOKEN",
            show_envvar=True,
        ),
    ] = "",
    insecure: Annotated[
        bool, Option("--insecure", help="Let other computers connect without a token.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        Option(help="Also accept requests for this host name. Repeat for more.", metavar="HOST"),
    ] = None,
    deadline: Annotated[float, Option(help="Answer each request within this many seconds.")] = 10.0,
    workers: options.Workers = None,
    access_log: Annotated[
        bool, Option("--access-log", help="Print a line for every request.")
    ] = False,
) -> None:
    """Serve a classifier over HTTP: a web page, and APIs for programs.

    SIGTERM and Ctrl-C stop the server after the accepted requests are answered. SIGHUP loads the
    run again.

    Examples:
        lucency serve chest_xray-quick-1
        lucency serve chest_xray-quick-1 --port 0 --access-log
    """
    from lucency.serve import Settings

    settings = Settings(
        host=host, port=port, token=token, insecure=insecure, names=tuple(allowed_host or ()),
        deadline=deadline, workers=workers or 0, log=access_log,
    ).checked()  # fmt: skip
    folder = options.run_folder(run)
    try:
        from lucency.serve.http.server import serve as serve_run
    except ImportError as error:
        raise BackendError(
            f"Serving needs a library that is missing ({error.name}). "
            'Install it: pip install "lucency[serve]"'
        ) from error
    serve_run(
        folder, settings, lambda address: print_message(f"Serving {folder.name} on {address}")
    )
