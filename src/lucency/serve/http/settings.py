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
        token: What clients have to present; empty for none.
        insecure: Whether other computers may connect without a token.
        names: Further host names of the service.
        deadline: Seconds within which a request is answered, at most; clients may ask for less.
        workers: Processes that decode; 0 for one per processor.
        max_body_bytes: Of one request.
        max_files: Images in one request.
        max_images: Images in the service at a time.
        max_bytes: Bytes of bodies in the service at a time.
        max_connections: Open at a time.
        decode_timeout: Seconds that decoding an image may take.
        receive_timeout: Seconds in which a request has to arrive; a body gets as much longer as
            its bytes take at ``min_bytes_per_second``.
        min_bytes_per_second: Rate at which a client has to send at least.
        keep_alive: Seconds after which a connection without requests is closed.
        shutdown_timeout: Seconds that accepted requests get when the service shuts down.
        shutdown_notice: Seconds for which the service still listens before it shuts down, so that
            monitoring and clients can see it.
        log: Whether to log a line for every request.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    insecure: bool = False
    names: tuple[str, ...] = ()
    deadline: float = 10.0
    workers: int = 0
    max_body_bytes: int = 64 * 2**20
    max_files: int = 64
    max_images: int = 512
    max_bytes: int = 256 * 2**20
    max_connections: int = 1000
    decode_timeout: float = 5.0
    receive_timeout: float = 10.0
    min_bytes_per_second: int = 64 * 2**10
    keep_alive: float = 15.0
    shutdown_timeout: float = 30.0
    shutdown_notice: float = 0.5
    log: bool = False

    def checked(self) -> Settings:
        """Return the settings themselves.

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
                "A token needs at least 16 ASCII characters, so that nobody can guess it; "
                f"received {len(self.token)}. Make one with: openssl rand -hex 32"
            )
        if not (self.token or self.insecure or self.local):
            raise ConfigError(
                f"Other computers can connect to {self.host}: set a token with --token or "
                "LUCENCY_TOKEN, or use --insecure if nobody else is on that network."
            )
        return self

    @property
    def local(self) -> bool:
        """Whether only this computer can connect."""
        address = _address(self.host)
        return self.host == "localhost" or bool(address and address.is_loopback)

    def has_name(self, name: str) -> bool:
        """Return whether the service has this host name, given without port or brackets.

        A foreign web page can have its own host name point to this computer, and would then pass
        for the page of the service (DNS rebinding). It cannot do so with an IP address.
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
