"""Addresses and limits of the service, checked before anything starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from lucency.errors import ConfigError

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the service behaves.

    Attributes:
        host: Address to listen on; one of this computer alone unless there is a token.
        port: 0 for any that is free.
        token: What a client has to know; empty for nothing.
        insecure: Whether other computers may use it without a token.
        names: Further names under which clients may reach it.
        deadline: Seconds within which a request is answered, at most; clients may ask for less.
        workers: Processes that decode; 0 for one per processor.
        most_bytes: Of a request's body.
        most_files: Images in one request.
        most_waiting: Images that are in the service at a time.
        most_bytes_waiting: Of the bodies that are in the service at a time.
        most_connections: Open at a time.
        decode_deadline: Seconds that decoding an image may take.
        receive_deadline: Seconds in which a request has to arrive, and as much longer as its bytes
            take at ``slowest`` bytes per second.
        slowest: Bytes per second that a client has to send at least.
        idle: Seconds after which a connection without requests is closed.
        drain: Seconds that accepted requests get when the service is to end.
        notice: Seconds that a service which is to end still listens, so that clients see it.
        log: Whether there is a line for every request.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    insecure: bool = False
    names: tuple[str, ...] = ()
    deadline: float = 10.0
    workers: int = 0
    most_bytes: int = 64 * 2**20
    most_files: int = 64
    most_waiting: int = 512
    most_bytes_waiting: int = 256 * 2**20
    most_connections: int = 1000
    decode_deadline: float = 5.0
    receive_deadline: float = 10.0
    slowest: int = 64 * 2**10
    idle: float = 15.0
    drain: float = 30.0
    notice: float = 0.5
    log: bool = False

    def checked(self) -> Settings:
        """Return the same.

        Raises:
            ConfigError: A value is out of range, or other computers could use the service and
                neither a token nor ``insecure`` was given.
        """
        if not self.host or not 0 <= self.port <= 65_535:
            raise ConfigError(
                f"Expected an address and a port from 0 to 65535. Received: {self.host}:{self.port}"
            )
        if not 0.01 <= self.deadline <= 600:
            raise ConfigError(
                f"Expected a deadline from 0.01 to 600 seconds. Received: {self.deadline}"
            )
        if self.token and (len(self.token) < 16 or not self.token.isascii()):
            raise ConfigError(
                "A token needs at least 16 ASCII characters, so that nobody guesses it; "
                f"received {len(self.token)}. Make one with: openssl rand -hex 32"
            )
        if not (self.token or self.insecure or self.local):
            raise ConfigError(
                f"{self.host} can be reached from other computers: give a token with --token or "
                "LUCENCY_TOKEN, or --insecure where nobody else is on that network."
            )
        return self

    @property
    def local(self) -> bool:
        """Whether only this computer can reach it."""
        address = _address(self.host)
        return self.host == "localhost" or bool(address and address.is_loopback)

    def knows(self, name: str) -> bool:
        """Tell whether clients may call the service by this name, without port or brackets.

        A web page of somebody else can have its own name point here and would then be taken for
        ours (DNS rebinding); it cannot do so with an address.
        """
        name = name.lower().rstrip(".")
        if name in (*_LOCAL, self.host.lower()) or name in map(str.lower, self.names):
            return True
        return not self.local and _address(name) is not None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
