"""What is said about work that waits for other jobs of a cluster."""

import signal
import time
from collections.abc import Callable, Iterator

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from searches import wait_for

from search.backends.ray import waiting
from search.backends.ray.cluster import living_nodes
from search.backends.ray.tasks import choose_best_node, fetch_result, run_on_best_node, start_task
from search.backends.ray.waiting import WaitNotice
from trainable.errors import LostError

pytestmark = [pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in seconds; to be changed."""
    seconds = [1000.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: seconds[0])
    return seconds


def test_waiting_is_told_once_after_a_while_as_is_its_end(now: list[float], logged: Callable[[], list[str]]) -> None:
    notice = WaitNotice()
    for seconds in (0, 2, 4.9):
        now[0] = 1000 + seconds
        notice.update("8 CPUs")
        assert logged() == []
    for seconds in (5, 6, 100):
        now[0] = 1000 + seconds
        notice.update("7 CPUs")
    assert logged() == ["waiting for 7 CPUs; other jobs are using the cluster"]
    notice.update(""), notice.update("")
    assert logged() == ["no longer waiting for 7 CPUs"]
    notice.update("8 CPUs")
    assert logged() == []


def test_a_short_wait_is_not_told(now: list[float], logged: Callable[[], list[str]]) -> None:
    notice = WaitNotice()
    for _ in range(5):
        notice.update("8 CPUs")
        now[0] += 4
        notice.update("")
    assert logged() == []


@pytest.fixture
def others(nodes: Cluster) -> Iterator[Callable[[], None]]:
    """Another job takes a CPU of the best node, and gives it back when told."""
    node = choose_best_node()

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    other = ray.remote(lambda: time.sleep(1000)).options(num_cpus=1, scheduling_strategy=there, max_retries=0).remote()
    free = ray._private.state.available_resources_per_node
    wait_for(lambda: free()[node["NodeID"]]["CPU"] == 7, what="the CPU to be taken")  # type: ignore[no-untyped-call]
    yield lambda: ray.cancel(other, force=True)
    ray.cancel(other, force=True)


@pytest.mark.slow
def test_a_task_that_waits_for_others_says_so(
    nodes: Cluster, others: Callable[[], None], logged: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE_SECONDS", 0.2)
    node = choose_best_node()
    assert fetch_result(next(start_task(divmod, node, 7, 2, cpus=7))) == (3, 1)
    assert logged() == []
    said: list[str] = []

    def let_go(text: str, *arguments: object) -> None:
        said.append(text % arguments)
        others()

    monkeypatch.setattr(waiting.log, "info", let_go)
    assert fetch_result(next(start_task(divmod, node, 7, 2, cpus=8))) == (3, 1)
    host = node["NodeManagerHostname"]
    assert said == [
        f"waiting for 8 CPUs of node {host}; other jobs are using the cluster",
        f"no longer waiting for 8 CPUs of node {host}",
    ]


@pytest.mark.slow
def test_what_a_task_raises_and_its_death_are_told(nodes: Cluster) -> None:
    assert living_nodes()
    with pytest.raises(ZeroDivisionError):
        run_on_best_node(divmod, 1, 0)
    with pytest.raises(LostError):
        run_on_best_node(signal.raise_signal, signal.SIGKILL)
