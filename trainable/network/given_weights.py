"""The trained weights of one's own that `[dense] weights` names, in the place of training the dense network."""

import hashlib
import io
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import torch
from safetensors.torch import load
from torch import Tensor, nn

from records.files import describe_unreadable, read_bytes
from trainable.network.architecture import Architecture
from trainable.network.placement import place_on
from trainable.network.weights import MOST_TENSOR_BYTES

# Keys that training scripts keep the state dict under, and what DistributedDataParallel puts before each name.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")
PREFIX = "module."
# Names of a mismatch that are told.
SHOWN = 3


def hash_weights(path: str) -> str:
    """A digest of the file; raises ValueError if it cannot be read."""
    return hashlib.sha256(_read(path)).hexdigest()


def load_given_weights(architecture: Architecture, path: str) -> nn.Module:
    """The dense network with the weights in `path`, on the CPU.

    Args:
        architecture: of the network.
        path: a safetensors file, or what torch.save wrote of a state dict, which may be under one of WRAPPERS. Pickled
            objects other than tensors are not read.

    Raises:
        ValueError: if the file cannot be read, its names and shapes are not the network's, or a number is not finite.
    """
    network = architecture.create(seed=0)
    wanted, given = network.state_dict(), _read_state(path)
    if not any(name.startswith(PREFIX) for name in wanted):
        given = {name.removeprefix(PREFIX): tensor for name, tensor in given.items()}
    for name, tensor in wanted.items():
        if name.endswith("num_batches_tracked"):  # not there in networks of long ago, and of no effect here
            given.setdefault(name, tensor)
    problems = _list_problems(wanted, given)
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise ValueError(
            f"dense.weights must be those of network {architecture.name!r} at width {architecture.width} with "
            f"{architecture.classes} classes, but in {path!r} {'; '.join(problems[:SHOWN])}{more} "
            "(network and dense.width must be those that were trained)"
        )
    if broken := next((name for name, each in given.items() if not each.isfinite().all()), None):
        raise ValueError(f"dense.weights must be finite, but in {path!r} {broken} is not; train the network again")
    network.load_state_dict(given)
    return place_on(network, torch.device("cpu"))


def _list_problems(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    problems = []
    for name, tensor in wanted.items():
        if name not in given:
            near = get_close_matches(name, given.keys() - wanted.keys(), n=1)
            problems.append(f"{name} is missing" + (f" (there is {near[0]})" if near else ""))
        elif given[name].shape != tensor.shape:
            problems.append(f"{name} has shape {list(given[name].shape)}, not {list(tensor.shape)}")
    return problems + [f"{name} is not one of the network's" for name in given if name not in wanted]


def _read_state(path: str) -> dict[str, Tensor]:
    content = _read(path)
    try:
        state = load(content) if path.endswith(".safetensors") else _unpickle(content)
    except (safetensors.SafetensorError, UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = " ".join(str(error).split()).split(". ")[0]
        raise ValueError(
            "dense.weights must be a safetensors file or a state dict that torch.save wrote, but "
            f"{path!r} is not: {reason}; save network.state_dict()"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(inner := state.get(wrapper), Mapping):
            state = dict(inner)
            break
    tensors = {str(name): tensor for name, tensor in state.items()}
    if other := next((name for name, each in tensors.items() if not isinstance(each, Tensor)), None):
        raise ValueError(
            f"dense.weights must be a state dict, or have one under {', '.join(WRAPPERS[:-1])} or {WRAPPERS[-1]}, but "
            f"{other} in {path!r} is not a tensor; save network.state_dict()"
        )
    return tensors


def _unpickle(content: bytes) -> dict[str, Any]:
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping):
        raise UnpicklingError(f"it holds a {type(state).__name__}")
    return dict(state)


def _read(path: str) -> bytes:
    try:
        return read_bytes(Path(path), most=MOST_TENSOR_BYTES)
    except OSError as error:
        raise ValueError(f"dense.weights must be a file: {describe_unreadable(os.fspath(path), error)}") from error
