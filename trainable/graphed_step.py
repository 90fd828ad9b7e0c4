"""The training step as CUDA graphs: the GPU is handed a whole step at once instead of some 300 kernels one by one.

At small batches a GPU runs a pruned network's kernels faster than the CPU launches them. A graph is launched in one
call and always works on the same memory, so what changes from batch to batch is copied into buffers before: the draw,
the learning rate, and alpha (GatedNetwork.set_alpha, in place).
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Protocol

import torch
from torch import nn

from trainable.data.batches import DeviceSplit, Draw
from trainable.network.placement import device_of
from trainable.training import TrainingStep

log = logging.getLogger("alphaprune")

# Batches of each size that are trained before one is captured. The first creates the momentum; all of them let cuDNN
# choose its algorithms and the libraries allocate their workspaces, which is not possible during a capture.
WARM_UP_BATCHES = 3


def create_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: DeviceSplit, *, label_smoothing: float
) -> TrainingStep:
    """A TrainingStep, on CUDA a GraphedStep; its arguments are as for these."""
    if device_of(network).type == "cuda":
        return GraphedStep(network, optimizer, images, label_smoothing=label_smoothing, graphs=CUDAGraphs())
    return TrainingStep(network, optimizer, images, label_smoothing=label_smoothing)


class Graphs(Protocol):
    """Records work, to repeat it; the tests have one that needs no GPU."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Does `work` in the way in which it will be captured."""

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        """A function that does what `work` does, on the same memory; `work` itself is not done.

        Raises:
            RuntimeError: if some of it cannot be captured.
        """


class CUDAGraphs:
    """Captures graphs that take turns, so that they share their memory."""

    def __init__(self) -> None:
        # Warming up on the stream of the capture gives cuBLAS its workspace for that stream outside of the graphs.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def capture(self, work: Callable[[], None]) -> Callable[[], object]:
        graph = torch.cuda.CUDAGraph()
        # The outer context, because torch.cuda.graph does not leave its stream if the capture fails. Other threads may
        # use CUDA (one may be waiting for the copy of a checkpoint), which only the mode "global" forbids.
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay


class GraphedStep(TrainingStep):
    """A TrainingStep that trains by replaying graphs, one for each of the two batch sizes of an epoch.

    The first WARM_UP_BATCHES of each size are trained without one. The graphs hold for this network and optimizer: one
    with other parameters or momentum buffers needs another GraphedStep. The optimizer's learning rate remains a number,
    which schedulers change and checkpoints store; only the graphs read it from a tensor.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        images: DeviceSplit,
        *,
        label_smoothing: float,
        graphs: Graphs,
    ) -> None:
        super().__init__(network, optimizer, images, label_smoothing=label_smoothing)
        self._graphs = graphs
        self._lr = torch.zeros((), device=self._device)
        self._warmed_up = Counter[int]()
        self._captured: dict[int, tuple[Draw, Callable[[], object]]] = {}  # by batch size: its buffers, and the replay
        self._can_capture = True

    @property
    def captured_sizes(self) -> set[int]:
        """The batch sizes that there is a graph for."""
        return set(self._captured)

    def train_batch(self, draw: Draw) -> None:
        size = len(draw.chosen)
        if size not in self._captured and self._can_capture:
            if self._warmed_up[size] < WARM_UP_BATCHES:
                self._warmed_up[size] += 1
                self._graphs.warm_up(partial(super().train_batch, draw))
                return
            self._capture(draw)
        if size not in self._captured:
            super().train_batch(draw)
            return
        buffers, replay = self._captured[size]
        for buffer, drawn in zip(buffers, draw, strict=True):
            buffer.copy_(drawn)
        self._lr.fill_(self.optimizer.param_groups[0]["lr"])  # all groups have the same
        replay()

    def _capture(self, draw: Draw) -> None:
        """Captures the step for batches like `draw`, without training on it."""
        buffers = Draw(*(drawn.clone() for drawn in draw))
        # The gradients must be the graph's own, in memory that nothing else is given.
        self.optimizer.zero_grad(set_to_none=True)
        try:
            with self._lr_from_tensor():
                replay = self._graphs.capture(partial(super().train_batch, buffers))
            self._captured[len(draw.chosen)] = buffers, replay
        except torch.OutOfMemoryError:
            raise  # whoever runs the trial frees memory and tries again
        except RuntimeError as error:
            self._can_capture = False
            # A failed capture may have cleared memory of cuBLAS that earlier graphs on the same stream still use.
            self._captured.clear()
            cause: BaseException = error
            while cause.__context__ is not None:  # ending an invalid capture raises, too, and says less
                cause = cause.__context__
            _warn_once(f"{type(cause).__name__}: {cause}")
        finally:
            self.optimizer.zero_grad(set_to_none=True)

    @contextmanager
    def _lr_from_tensor(self) -> Iterator[None]:
        """Makes the optimizer read its learning rate from the device, which only its fused kernels can."""
        groups = self.optimizer.param_groups
        before = [(group["lr"], group["fused"]) for group in groups]
        try:
            for group in groups:
                group["lr"], group["fused"] = self._lr, True
            yield
        finally:
            for group, (lr, fused) in zip(groups, before, strict=True):
                group["lr"], group["fused"] = lr, fused


@cache
def _warn_once(reason: str) -> None:
    log.warning("training is slower, because its step could not be captured as a CUDA graph: %s", reason)
