"""A Ray cluster of processes of this machine, whose nodes can be killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

_NOTICED = {  # a dead node is noticed within a second
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_failure_threshold": 2,
}
_MEMORY = {"object_store_memory": 100 * 2**20}
_BUSY = ("ray::_on_node", "ray::Worker", "ray::Trial")  # titles of processes that work for Lucency


class LocalCluster:
    """A head that does not work, and nodes of one processor each, on addresses of 127.0.0.0/8."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "node_ip_address": "127.0.0.2", "include_dashboard": False}
        self._cluster = Cluster(
            initialize_head=True, head_node_args=head | _MEMORY | {"_system_config": _NOTICED}
        )
        self._killed: list[Any] = []
        self._started = 0

    @property
    def address(self) -> str:
        """What ``RAY_ADDRESS`` must be."""
        return str(self._cluster.address)

    @property
    def nodes(self) -> list[Any]:
        """The nodes that are alive, in the order in which they were added."""
        return sorted(self._cluster.worker_nodes, key=lambda node: node.node_ip_address)

    def add(self) -> Any:
        """Start a node, and return it."""
        self._started += 1
        address = f"127.0.{1 + self._started // 250}.{1 + self._started % 250}"
        node = self._cluster.add_node(num_cpus=1, node_ip_address=address, **_MEMORY)
        self._cluster.wait_for_nodes()
        return node

    def kill(self, node: Any) -> None:
        """Kill a node as a power cut would."""
        (raylet,) = node.all_processes["raylet"]
        os.kill(raylet.process.pid, signal.SIGKILL)
        self._cluster.worker_nodes.remove(node)  # it is not waited for
        self._killed.append(node)

    def workers(self) -> list[int]:
        """Return the numbers of the processes that work for Lucency on the nodes."""
        import psutil

        found = []
        for node in self.nodes:
            (raylet,) = node.all_processes["raylet"]
            for child in psutil.Process(raylet.process.pid).children():
                with suppress(psutil.Error):  # it has just ended
                    if "".join(child.cmdline()[:1]).startswith(_BUSY):
                        found.append(child.pid)
        return found

    def close(self) -> None:
        """End all processes."""
        for node in self._killed:
            node.kill_all_processes(check_alive=False)
        self._cluster.shutdown()


@contextmanager
def local_cluster(nodes: int) -> Iterator[LocalCluster]:
    """Start a cluster that ``--on ray`` finds; at the end, also disconnect this process from it."""
    import ray

    cluster = LocalCluster()
    try:
        for _ in range(nodes):
            cluster.add()
        with patch.dict(os.environ, {"RAY_ADDRESS": cluster.address}):
            yield cluster
    finally:
        ray.shutdown()
        cluster.close()


def wait_until(condition: Any, seconds: float) -> bool:
    """Wait until a condition holds; tell whether it did within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
