"""Weights of one's own: read from what people have, and refused in one line that says what does not fit."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from trainable.network.architecture import Architecture
from trainable.network.given_weights import hash_weights, load_given_weights

RESNET = Architecture("resnet20", 7, 0.25)

State = dict[str, Any]


@pytest.fixture
def state() -> State:
    return RESNET.create(seed=5).state_dict()


def as_saved_by_ddp(state: State, path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": each for name, each in state.items()}}, path)


def as_saved_with_accuracy(state: State, path: Path) -> None:
    torch.save({"net": state, "acc": 93.1, "epoch": 3}, path)


def without_counters(state: State, path: Path) -> None:
    torch.save({name: each for name, each in state.items() if "num_batches" not in name}, path)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("a.safetensors", lambda state, path: save_file({name: t.contiguous() for name, t in state.items()}, path)),
        ("a.pt", torch.save),
        ("b.pth", as_saved_by_ddp),
        ("c.pt", without_counters),
        ("d.pth", as_saved_with_accuracy),
    ],
)
def test_what_people_save_is_read(
    state: State, tmp_path: Path, name: str, save: Callable[[State, Path], object]
) -> None:
    save(state, tmp_path / name)
    loaded = load_given_weights(RESNET, str(tmp_path / name)).state_dict()
    for key, tensor in state.items():
        assert torch.equal(loaded[key], tensor), key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("conv.weight"), "conv.weight is missing"),
        (lambda state: state.update(extra=torch.ones(1)), "extra is not one of the network's"),
        (
            lambda state: state.update({"conv1.weight": state.pop("conv.weight")}),
            "conv.weight is missing (there is conv1.weight)",
        ),
        (
            lambda state: state.update({"classifier.bias": torch.ones(10)}),
            "classifier.bias has shape [10], not [7]",
        ),
        (lambda state: state.update(lr=0.1), "lr in"),
        (lambda state: state.update({"classifier.bias": torch.full([7], torch.nan)}), "classifier.bias is not"),
    ],
)
def test_a_mismatch_is_named(state: State, tmp_path: Path, change: Callable[[State], object], said: str) -> None:
    change(state)
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=re.escape(said)) as refusal:
        load_given_weights(RESNET, str(tmp_path / "a.pt"))
    assert "dense.weights must be" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_of_many_differences_the_first_are_named(tmp_path: Path) -> None:
    torch.save(Architecture("resnet32", 7, 0.25).create(0).state_dict(), tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"and \d+ more \(network and dense.width must be those that were trained\)$"):
        load_given_weights(RESNET, str(tmp_path / "a.pt"))


def test_a_network_may_have_the_prefix_of_ddp_itself(tmp_path: Path, write_module: Callable[[str, str], None]) -> None:
    write_module(
        "wrapping_network",
        """
from torch import nn

class Wrapping(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.module = nn.Linear(3, classes)

def build(classes):
    return Wrapping(classes)
""",
    )
    architecture = Architecture("wrapping_network:build", 7)
    state = architecture.create(seed=4).state_dict()
    torch.save(state, tmp_path / "a.pt")
    loaded = load_given_weights(architecture, str(tmp_path / "a.pt")).state_dict()
    assert torch.equal(loaded["module.weight"], state["module.weight"])


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("harm",)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("text.pt", lambda path: path.write_text("no weights")),
        ("text.safetensors", lambda path: path.write_text("no weights")),
        ("empty.pt", lambda path: path.touch()),
        ("list.pt", lambda path: torch.save([1, 2], path)),
        ("code.pt", lambda path: torch.save({"a": Harmful()}, path)),
        ("missing.pt", lambda path: None),
        ("folder.pt", lambda path: path.mkdir()),
    ],
)
def test_what_is_no_weights_is_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / name)
    with pytest.raises(ValueError, match=f"dense.weights must be .*{name}") as refusal:
        load_given_weights(RESNET, str(tmp_path / name))
    assert "\n" not in str(refusal.value)
    assert "harm" not in capsys.readouterr().out


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    first, same, other = (hash_weights(str(tmp_path / name)) for name in "abc")
    assert first == same != other
