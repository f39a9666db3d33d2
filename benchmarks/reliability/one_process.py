"""Command lines with a small network, one after another in one process: to start takes longer.

``python -m benchmarks.reliability.one_process COMMANDS`` prints their exit codes as JSON.
``COMMANDS`` is a JSON list of lists: a file for the output, one for the errors, and arguments.
"""

from __future__ import annotations

import json
import os
import sys

from benchmarks.small_network import (
    use_few_trees,
    use_small_network,
    use_small_report_images,
    without_extras,
)


def main() -> None:
    without_extras()
    use_small_network()
    use_few_trees()
    use_small_report_images()
    result = os.dup(1)
    codes = [_run(*each) for each in json.loads(sys.argv[1])]
    os.write(result, json.dumps(codes).encode())


def _run(output: str, errors: str, *arguments: str) -> int:
    """Run a command line; return its exit code."""
    from lucency.cli import main as lucency

    for number, path in ((1, output), (2, errors)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.argv = ["lucency", *arguments]
    try:
        lucency()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


if __name__ == "__main__":
    main()
