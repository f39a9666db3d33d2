"""Work on several machines, by Ray, which is imported only where ``--on`` asks for it.

    connection    connect to a cluster, check its nodes, run tasks on them
    decoding      decode images on all nodes
    tasks         run pure functions, here by threads or on all nodes

Ray schedules the tasks, and repeats those whose node or process died. Results come in the order of
the tasks, so they are the same bytes as on one machine, whichever nodes there were and whichever of
them died.
"""

from __future__ import annotations

from lucency.cluster.connection import Cluster, Lost, Shared, connect
from lucency.cluster.decoding import decoders, in_words, kept_pool
from lucency.cluster.tasks import Tasks, Threads, Value, tasks, threads

__all__ = [
    "Cluster",
    "Lost",
    "Shared",
    "Tasks",
    "Threads",
    "Value",
    "connect",
    "decoders",
    "in_words",
    "kept_pool",
    "tasks",
    "threads",
]
