"""A claim on a run at an address: what a file lock is on a file system.

    claim-000001.json    token, host, process and time of a command; created once, never changed
    sign-000001.json     its last sign of life, written by that command alone

The claim of the highest number holds. A command takes over from a released or stale one by creating
the next number, which only one of several can. A storage has no lock that ends with its process:
after ``STALE`` seconds without a sign of life, a claim counts as left behind.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lucency.errors import RunError
from lucency.io import parse_json
from lucency.run_folder.files import CLAIM, SIGN
from lucency.run_folder.objects import Objects

FORMAT = 1
SIGN_SECONDS = 60.0  # between two signs of life
STALE = 600.0  # seconds
_NUMBER = re.compile(r"claim-(\d{6,9})\.json")


class Holder(NamedTuple):
    """The command that holds, or held, a claim.

    Attributes:
        number: Of the claim.
        token: Random text that only this command has written.
        who: Host and process number, for people.
        since: When it claimed the run, as text in UTC.
        sign: When it gave its last sign of life.
        released: Whether it has ended.
    """

    number: int
    token: str
    who: str
    since: str
    sign: datetime
    released: bool

    @property
    def age(self) -> float:
        """Seconds since the last sign of life."""
        return (datetime.now(UTC) - self.sign).total_seconds()


class Claim:
    """The claim of this process.

    Attributes:
        token: As in ``Holder``.
        before: The command that it took over from, if there was one.
        lost: Whether another command has taken over.
    """

    def __init__(self, objects: Objects, run: str, own: str) -> None:
        """Claim the run.

        Args:
            objects: Those of the unfinished run.
            run: The address of the run, for messages.
            own: Token of an earlier command whose end is certain; empty if there is none.

        Raises:
            RunError: Another command holds the claim, the storage has no write under a condition,
                or it cannot be written.
        """
        self._objects, self._run, self.lost = objects, run, False
        self.before = holder_of(objects)
        if self.before and not _is_over(self.before, own):
            raise RunError(_held(run, self.before))
        self._number = self.before.number + 1 if self.before else 1
        self.token = secrets.token_hex(16)
        claim = _json(token=self.token, host=socket.gethostname(), pid=os.getpid(), since=_now())
        if not objects.create(_claim(self._number), claim):
            other = holder_of(objects)
            raise RunError(_held(run, other) if other else f"{run}: claimed at this moment.")
        self._check_condition()
        self.give_sign()

    def give_sign(self, *, released: bool = False) -> None:
        """Tell others that this process is alive, or has ended.

        Raises:
            RunError: Another command has taken over, or the storage cannot be reached.
        """
        self.check()
        self._objects.write(_sign(self._number), _json(time=_now(), released=released))

    def check(self) -> None:
        """Make sure that the claim still holds.

        Raises:
            RunError: Another command has taken over, or the storage cannot be reached.
        """
        if _highest(self._objects) == self._number:
            return
        self.lost = True
        raise RunError(self.loss)

    @property
    def loss(self) -> str:
        """What to say once the claim is lost."""
        return (
            f"Another command has taken over {self._run}, as this one gave no sign of life for "
            f"{STALE / 60:g} minutes. It resumes from the checkpoints that this one has published."
        )

    def _check_condition(self) -> None:
        """Raise ``RunError`` where the storage ignores the condition, as old servers do."""
        name = _claim(self._number)
        if self._objects.create(name, b"{}"):
            self._objects.remove([name])
            raise RunError(
                f"{self._run}: this storage writes over a file that is there although it is asked "
                "not to (If-None-Match), so that two commands could write the same run. Update "
                "it, or give a folder with --run."
            )


def holder_of(objects: Objects) -> Holder | None:
    """Return the command that holds the claim on a run; ``None`` without one.

    Raises:
        RunError: The claim is damaged, or the storage cannot be read.
    """
    if not (number := _highest(objects)):
        return None
    name = _claim(number)
    try:
        claim = parse_json(objects.read(name, CLAIM.largest) or b"")
        sign = parse_json(objects.read(_sign(number), SIGN.largest) or b"{}")
        since = datetime.fromisoformat(claim["since"])
        last = datetime.fromisoformat(sign.get("time", claim["since"]))
        return Holder(
            number, str(claim["token"]), f"host {claim['host']:.80}, PID {int(claim['pid'])}",
            _shown(since), last.astimezone(UTC), bool(sign.get("released")),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{objects.shown}/{name} is damaged. Remove it if no command works on the run."
        ) from error


def _is_over(holder: Holder, own: str) -> bool:
    return holder.released or holder.token == own or holder.age > STALE


def _held(run: str, holder: Holder) -> str:
    return (
        f"Another command ({holder.who}) has been working on {run} since {holder.since}; its last "
        f"sign of life was at {_shown(holder.sign)}. Wait for it, or give another name with --run. "
        f"If it has died, this command can resume it {STALE / 60:g} minutes after that sign."
    )


def _highest(objects: Objects) -> int:
    """Return the number of the claim that holds; 0 without one."""
    return max((int(found[1]) for name in objects.names() if (found := _NUMBER.fullmatch(name))),
               default=0)  # fmt: skip


def _claim(number: int) -> str:
    return CLAIM.name.replace("N", f"{number:06d}")


def _sign(number: int) -> str:
    return SIGN.name.replace("N", f"{number:06d}")


def _json(**document: Any) -> bytes:
    return (json.dumps({"format": FORMAT, **document}, indent=1) + "\n").encode()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _shown(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
