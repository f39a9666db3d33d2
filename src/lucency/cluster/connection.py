"""Connect to a Ray cluster, check its nodes, and run tasks on them."""

from __future__ import annotations

import functools
import os
import platform
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Generic, NamedTuple, NoReturn, TypeVar, cast

from lucency.errors import BackendError, ConfigError, DataError, LucencyError, RunError
from lucency.progress import SILENT, Progress

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_QUEUED = 2  # tasks per processor that run or wait
_RETRIES = 5  # of a task whose node or process died
_ANSWER = 60.0  # seconds until each node must answer, a worker's start included
_EMPTY = 60.0  # seconds that a cluster may be without any processor before a command gives up
_OTHERS = 20.0  # seconds to wait for further actors when the first is ready
_INTERVAL = 5.0  # seconds between two looks at the nodes while nothing is finished


class Node(NamedTuple):
    """What a node says of itself.

    Attributes:
        address: Its IP address.
        versions: Of Python and of Lucency, in words.
        unseen: The first of the asked paths that it cannot see; empty if it sees all.
    """

    address: str
    versions: str
    unseen: str


class Lost(NamedTuple):
    """What there is instead of an answer, where a process or its node died.

    Attributes:
        reason: As Ray gives it.
    """

    reason: str


@dataclass(frozen=True)
class Shared(Generic[ItemT]):
    """A value that tasks receive; each process of a cluster fetches it once.

    Attributes:
        reference: Of Ray; in a tuple, as Ray would otherwise fetch the value for each task.
    """

    reference: tuple[Any]

    @property
    def value(self) -> ItemT:
        """The value; the same object for all tasks of a process."""
        return cast("ItemT", _fetched(self.reference[0]))


@functools.lru_cache(maxsize=1)
def _fetched(reference: Any) -> Any:
    import ray

    return ray.get(reference)


class Cluster:
    """A connected cluster; made by ``connect``.

    Attributes:
        on: The value of ``--on``.
        work: Number of items of the latest ``run`` that each node has finished, by its address.
    """

    def __init__(self, on: str) -> None:
        self.on = on
        self.work: Counter[str] = Counter()
        self._known: set[str] = set()  # nodes that have been there
        self._processors()

    @property
    def processors(self) -> int:
        """Number of processors of all nodes that are alive; at least 1."""
        return max(1, self._processors())

    @property
    def lost(self) -> int:
        """Number of nodes that are known to have died; Ray takes seconds to notice."""
        return len(self._known - {node["NodeID"] for node in _alive()})

    @property
    def nodes(self) -> int:
        """Number of nodes that are alive, among them those that only coordinate."""
        return len(_alive())

    def share(self, value: ItemT) -> Shared[ItemT]:
        """Return a reference to a value, to give to tasks."""
        import ray

        return Shared((ray.put(value),))

    def check_sees(self, paths: Sequence[str]) -> None:
        """Check that all nodes see some paths.

        Raises:
            DataError: A node does not.
        """
        for node in _asked(paths):
            if node.unseen:
                raise DataError(
                    f"Node {node.address} of the cluster does not see {node.unseen}. Keep "
                    "it on storage that all nodes mount at the same path."
                )

    def run(
        self,
        function: Callable[..., ResultT],
        items: Iterable[Sized],
        *given: Any,
    ) -> Generator[ResultT, None, None]:
        """Yield ``function(item, *given)`` for each item, in order, with a bounded number at work.

        Items begin to be worked on before the first result is asked for. A task is repeated where
        its node or process died, so the function must give the same result each time.

        Args:
            function: A function of a module of Lucency.
            items: Their lengths are counted in ``work``.
            given: Further arguments, such as what ``share`` returns.

        Raises:
            LucencyError: As the function raises it.
            RunError: Tasks died again and again, or no node is left.
        """
        import ray

        self.work = Counter()
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_on_node)
        begin = partial(task.remote, function)
        remaining = iter(items)
        waiting = deque((len(item), begin(item, *given)) for item in islice(remaining, self._most))
        return self._results(waiting, remaining, lambda item: begin(item, *given))

    def _results(
        self,
        waiting: deque[tuple[int, Any]],
        remaining: Iterator[Sized],
        begin: Callable[[Sized], Any],
    ) -> Generator[Any, None, None]:
        import ray

        try:
            while waiting:
                count, reference = waiting.popleft()
                self.first([reference])
                with _errors_of_ray():
                    address, result = ray.get(reference)
                self.work[address] += count
                del reference
                more = max(1, self._most - len(waiting))
                waiting.extend((len(item), begin(item)) for item in islice(remaining, more))
                yield result
        finally:
            for _, reference in waiting:
                ray.cancel(reference, force=True)

    @property
    def devices(self) -> int:
        """Number of GPUs of all nodes; of processors where there is none."""
        return self._gpus() or self.processors

    def actor(self, kind: type, *given: Any, env: Mapping[str, str], spread: bool = False) -> Any:
        """Start an object that lives on a node, with a GPU of its own if the cluster has any.

        Args:
            kind: Its class.
            given: Arguments of its constructor.
            env: Environment variables of its process.
            spread: Whether to prefer nodes on which few others are.
        """
        import ray

        options: dict[str, Any] = {"num_gpus": 1} if self._gpus() else {"num_cpus": 1}
        if spread:
            options["scheduling_strategy"] = "SPREAD"
        return ray.remote(runtime_env={"env_vars": dict(env)}, **options)(kind).remote(*given)

    @staticmethod
    def answer(reference: Any) -> Any:
        """Return what a method of an actor gave, or ``Lost`` where that was lost with the actor.

        Raises:
            LucencyError: As the method raises it.
            BackendError: The constructor of the actor failed.
        """
        import ray

        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            _raise_cause(error)
        except ray.exceptions.ActorDiedError as error:
            _check_started(error)
            return Lost(_short(error))
        except ray.exceptions.RayError as error:
            return Lost(_short(error))

    @staticmethod
    def end(actor: Any) -> None:
        """End an actor, which may be dead."""
        import ray

        ray.kill(actor)

    @staticmethod
    def ready(actors: Sequence[Any], seconds: float) -> tuple[list[Any], list[Any]]:
        """Return the actors whose constructors have finished, and those that are starting.

        Those that have died are in neither.

        Args:
            actors: From ``actor``.
            seconds: How long to wait for the first one; 0 not to wait.

        Raises:
            BackendError: A constructor failed.
        """
        import ray

        asked = {actor.__ray_ready__.remote(): actor for actor in actors}
        if asked and seconds and ray.wait([*asked], timeout=seconds)[0]:
            ray.wait([*asked], num_returns=len(asked), timeout=_OTHERS)
        found, starting = [], []
        for reference, actor in asked.items():
            try:
                ray.get(reference, timeout=0)
            except (ray.exceptions.GetTimeoutError, ray.exceptions.ActorUnavailableError):
                starting.append(actor)
            except ray.exceptions.ActorDiedError as error:
                _check_started(error)
            else:
                found.append(actor)
        return found, starting

    @property
    def _most(self) -> int:
        return _QUEUED * self.processors

    def first(self, references: Sequence[Any]) -> Any:
        """Wait until one of several references is finished, while there are nodes; return it.

        Raises:
            RunError: No node is left.
        """
        import ray

        began = time.monotonic()
        while not (ready := ray.wait([*references], timeout=_INTERVAL)[0]):
            if self._processors():
                began = time.monotonic()
            elif time.monotonic() - began > _EMPTY:
                raise RunError(
                    f"The cluster --on {self.on} has had no processor for {_EMPTY:.0f} s: its "
                    "nodes have died or left. Start nodes and repeat the command; what is finished "
                    "is kept."
                )
        return ready[0]

    @staticmethod
    def _gpus() -> int:
        return int(sum(node["Resources"].get("GPU", 0) for node in _alive()))

    def _processors(self) -> int:
        """Return the number of processors of all nodes, and remember the nodes."""
        nodes = _alive()
        self._known |= {node["NodeID"] for node in nodes}
        return int(sum(node["Resources"].get("CPU", 0) for node in nodes))


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


_connected: dict[str, Cluster] = {}  # one at most: a process belongs to one cluster


def connect(on: str, progress: Progress = SILENT) -> Cluster:
    """Connect to a cluster, and check that its nodes run the same versions; only once a process.

    The connection ends with the process. A process that is connected to Ray already stays there.

    Args:
        on: ``ray`` for the cluster of this environment (``RAY_ADDRESS``, or one that runs on this
            machine), ``ray://HOST:PORT`` for a Ray Client server, ``local:N`` for a cluster of its
            own with N processes on this machine.
        progress: Called with the nodes.

    Raises:
        BackendError: Ray is not installed, or a node has other versions of Python or Lucency.
        ConfigError: There is no cluster, it does not answer, or it has no processor.
    """
    if on in _connected:
        return _connected[on]
    # Otherwise Ray prints the end of a dead node's log among what this process prints.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray
    except ImportError as error:
        raise BackendError(
            f'--on {on} needs Ray: pip install "lucency[cluster]". Or leave --on out to use this '
            "machine alone."
        ) from error
    context = None if ray.is_initialized() else _initialised(on)
    cluster = Cluster(on)
    _check(on, cluster)
    _connected[on] = cluster
    dashboard = getattr(context, "dashboard_url", "")
    progress.note(
        f"Connected to the cluster {on} (nodes: {cluster.nodes}, processors: "
        f"{cluster.processors}{f', dashboard: http://{dashboard}' if dashboard else ''})."
    )
    return cluster


def _initialised(on: str) -> Any:
    """Connect this process to Ray."""
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if on.startswith("local:"):
        # Nothing of this process is sent anywhere.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        number = int(on.removeprefix("local:"))
        # By name: otherwise a cluster that this machine has already would answer.
        return ray.init("local", num_cpus=number, include_dashboard=False, **options)
    address = "auto" if on == "ray" else on
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says it
            return ray.init(address, **options)
    except Exception as error:  # Ray's errors of connecting have no common class
        raise ConfigError(
            f"No Ray cluster answers at --on {on} ({_short(error)}). Start one with: ray start "
            "--head, and give its address, the same versions of Python and Ray, and its token "
            "(~/.ray/auth_token)."
        ) from error


def _check(on: str, cluster: Cluster) -> None:
    if not cluster._processors():
        raise ConfigError(
            f"The cluster --on {on} has no processor. Start a node with: ray start --address "
            "HOST:PORT --num-cpus N"
        )
    own = _versions()
    for node in _asked(()):
        if node.versions != own:
            raise BackendError(
                f"Node {node.address} of the cluster has {node.versions}; this process has {own}. "
                "Install the same versions on all nodes."
            )


def _asked(paths: Sequence[str]) -> list[Node]:
    """Ask every node that can work for its versions and whether it sees some paths.

    A node that dies before it answers is left out.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    asked = []
    for node in _alive():
        if not node["Resources"].get("CPU"):
            continue  # it only coordinates
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_describe)
        asked.append((node["NodeManagerAddress"], task.remote([*map(os.path.abspath, paths)])))
    answers = []
    for address, reference in asked:
        try:
            answers.append(ray.get(reference, timeout=_ANSWER))
        except ray.exceptions.GetTimeoutError as error:
            raise ConfigError(
                f"Node {address} of the cluster has not answered for {_ANSWER:.0f} s. Stop it, or "
                "start it again."
            ) from error
        except ray.exceptions.RayTaskError as error:
            raise BackendError(
                f"Node {address} of the cluster cannot run Lucency ({_short(error)}). Install "
                f"{_versions()} there."
            ) from error
        except ray.exceptions.RayError:
            continue  # the node has just died
    return answers


def _describe(paths: Sequence[str]) -> Node:
    """Describe the node that this runs on."""
    import ray

    unseen = next((path for path in paths if not Path(path).exists()), "")
    return Node(ray.util.get_node_ip_address(), _versions(), unseen)


def _versions() -> str:
    return f"Python {platform.python_version()} and Lucency {metadata.version('lucency')}"


def _on_node(function: Callable[..., ResultT], item: Any, *given: Any) -> tuple[str, ResultT]:
    """Run a function, and say on which node."""
    import ray

    return ray.util.get_node_ip_address(), function(item, *given)


@contextmanager
def _errors_of_ray() -> Iterator[None]:
    """Turn what Ray raises into what the function raised, or into one line."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        _raise_cause(error)
    except ray.exceptions.RayError as error:
        raise RunError(
            f"A task of the cluster was lost {_RETRIES + 1} times ({_short(error)}). Repeat the "
            "command; what is finished is kept."
        ) from error


def _raise_cause(error: Any) -> NoReturn:
    """Raise what a task raised: an error for the user, or a bug with the traceback of the node."""
    if isinstance(error.cause, LucencyError):
        raise error.cause from error
    raise error


def _check_started(error: Any) -> None:
    """Raise ``BackendError`` where an actor died because its constructor failed."""
    if error.actor_init_failed:
        raise BackendError(
            f"A worker of the cluster could not start ({_short(error)}). Install what training "
            "needs on all nodes."
        ) from error


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
