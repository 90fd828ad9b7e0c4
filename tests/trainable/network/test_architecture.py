"""What builds a network: a name, or a function of the user's own, which is given what it asks for."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import same_weights
from torch import nn

from trainable.config import NetworkConfig
from trainable.function_import import import_function
from trainable.network.architecture import NETWORKS, Architecture, initialise_weights
from trainable.network.placement import SubsampledConv2d

SCALED = """
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        return self.scale * x


def build(classes):
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), Scale(), nn.BatchNorm2d(4), pool, nn.Flatten(), nn.Linear(4, classes))
"""

Write = Callable[[str], None]

OWN = """
import torch
from torch import nn

GIVEN = []


def build(classes, depth=1, **others):
    GIVEN.append({"classes": classes, "depth": depth, **others})
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()] + depth * [nn.Identity()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))


def sized(classes, image_size, width=1.0):
    GIVEN.append({"classes": classes, "image_size": image_size, "width": width})
    return build(classes)


def torchvisions(num_classes):
    GIVEN.append({"num_classes": num_classes})
    return build(num_classes)


def anything(**given):
    GIVEN.append(given)
    return build(given["num_classes"])


def reads_values(classes):
    network = build(classes)
    with torch.no_grad():
        network[0].weight.mul_(2 if network[0].weight.sum().item() > 0 else 3)
    return network


class Offset(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.full((1,), 0.5), persistent=False)

    def forward(self, x):
        return x + self.offset


def keeps_a_buffer(classes):
    return nn.Sequential(build(classes), Offset())


def fails(classes):
    raise RuntimeError("no\\nsuch luck")


def returns_text(classes):
    return "a network"


def without_classes(depth=1):
    return build(10, depth)


NOT_CALLABLE = 3
"""


@pytest.fixture
def own(write_module: Callable[[str, str], None]) -> None:
    write_module("own_network", OWN)


def given() -> Any:
    """What the function was given last."""
    return import_function("network", "own_network:build").__globals__["GIVEN"][-1]


@pytest.mark.usefixtures("own")
def test_a_function_of_ones_own_is_given_what_it_takes() -> None:
    Architecture("own_network:build", 7, arguments={"depth": 2, "name": "x"}).build()
    assert given() == {"classes": 7, "depth": 2, "name": "x"}
    Architecture("own_network:sized", 7, width=0.5, image_size=48).build()
    assert given()["classes"] == 7
    seen = import_function("network", "own_network:build").__globals__["GIVEN"][-2]
    assert seen == {"classes": 7, "image_size": 48, "width": 0.5}


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["torchvisions", "anything"])
def test_a_function_may_call_the_classes_as_torchvision_does(name: str) -> None:
    Architecture(f"own_network:{name}", 7).build()
    assert import_function("network", "own_network:build").__globals__["GIVEN"][-2] == {"num_classes": 7}


@pytest.mark.usefixtures("own")
def test_a_width_among_the_arguments_is_taken_as_it_is() -> None:
    Architecture("own_network:sized", 7, width=0.5, arguments={"width": 3}).build()
    assert import_function("network", "own_network:build").__globals__["GIVEN"][-2]["width"] == 3


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("own_network:missing", {}, "network 'own_network:missing': .* has no 'missing'; the nearest is"),
        ("own_network:NOT_CALLABLE", {}, "must be a function, but is 3"),
        ("own_network:without_classes", {}, "must take `classes`, the number of its outputs; add the parameter"),
        ("own_network:build", {"width": 0.5}, "dense.width must be 1 for network .* which takes no `width`.* got 0.5"),
        ("own_network:fails", {}, "could not be built: RuntimeError: no such luck \\(classes=7\\)"),
        ("own_network:returns_text", {}, "must be a torch.nn.Module, but the function returned 'a network'"),
        ("own_network:torchvisions", {"arguments": {"depth": 1}}, "could not be built: TypeError: .*'depth'"),
        (
            "own_network:build",
            {"arguments": {"classes": 9}},
            "must not have 'classes', which the data .* got 9; remove",
        ),
        ("no_such_module:build", {}, "No module named 'no_such_module'"),
        ("vgg17", {}, "must be one of vgg11, .*or package.module:function, but got 'vgg17'; the nearest is 'vgg1"),
        ("", {}, "must be one of vgg11"),
        ("json", {}, "must be one of vgg11"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        Architecture(name, 7, **changed).build()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_are_those_of_functions(name: str) -> None:
    parameters = inspect.signature(import_function("network", NETWORKS[name])).parameters
    assert set(parameters) <= {"classes", "image_size", "width"}
    assert Architecture.of(NetworkConfig(name), width=1, classes=3) == Architecture(name, 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize("name", ["build", "reads_values", "keeps_a_buffer"])
def test_a_shell_has_the_names_and_shapes_of_the_network(name: str) -> None:
    """Also where values are read while it is built, or where a tensor is there that no state dict has."""
    architecture = Architecture(f"own_network:{name}", 7)
    shell, network = architecture.build_shell(), architecture.create(seed=3)
    assert {name: tensor.shape for name, tensor in shell.state_dict().items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }
    on_meta = {buffer.device.type for each, buffer in shell.named_buffers() if each not in shell.state_dict()}
    assert on_meta <= {"cpu"}


def test_a_shell_takes_no_memory() -> None:
    assert {tensor.device.type for tensor in Architecture("vgg16", 10).build_shell().state_dict().values()} == {"meta"}


def test_a_created_network_depends_on_the_seed_alone() -> None:
    architecture = Architecture("resnet20", 5, 0.25)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, same, other = architecture.create(3), architecture.create(3), architecture.create(4)
    assert torch.equal(before, torch.get_rng_state())
    assert same_weights(first, same)
    assert not same_weights(first, other)


def test_small_images_get_a_first_layer_for_them() -> None:
    small, large = (Architecture("resnet18", 5, image_size=size).build() for size in (32, 224))
    assert (small.get_submodule("conv1").kernel_size, small.get_submodule("conv1").stride) == ((3, 3), (1, 1))
    assert isinstance(small.get_submodule("maxpool"), nn.Identity)
    assert (large.get_submodule("conv1").kernel_size, large.get_submodule("conv1").stride) == ((7, 7), (2, 2))
    small, large = (Architecture("mobilenet_v2", 5, image_size=size).build() for size in (32, 224))
    assert small.get_submodule("features.0.0").stride == (1, 1)
    assert large.get_submodule("features.0.0").stride == (2, 2)


def test_weights_are_drawn_again_as_they_were_drawn() -> None:
    """A VGG16 that is initialised in place has the weights of one that is built."""
    vgg16 = Architecture("vgg16", 4, 0.1)
    network = vgg16.create(seed=6)
    assert not same_weights(network, vgg16.create(seed=5))
    assert same_weights(initialise_weights(network, vgg16, seed=5), vgg16.create(seed=5))


def test_weights_are_drawn_again_for_strided_shortcuts_as_well() -> None:
    resnet = Architecture("resnet20", 4, 0.25)
    network = resnet.create(0)
    kinds = {type(each) for each in network.modules()}
    assert SubsampledConv2d in kinds
    assert same_weights(initialise_weights(network, resnet, 3), initialise_weights(resnet.create(1), resnet, 3))
    assert {type(each) for each in network.modules()} == kinds


def test_nothing_trained_is_left_in_modules_of_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "scaled_network.py").write_text(SCALED)
    monkeypatch.chdir(tmp_path)
    own = Architecture("scaled_network:build", 3)
    network = own.create(0)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(7)
    drawn = initialise_weights(network, own, seed=1)
    assert not any((tensor == 7).all() for tensor in drawn.state_dict().values())
    assert drawn.get_parameter("1.scale").item() == 1


@pytest.mark.usefixtures("own")
def test_a_folder_need_not_be_on_the_path(tmp_path: Path) -> None:
    assert Path.cwd() == tmp_path
    assert isinstance(Architecture("own_network:build", 2).build(), nn.Module)
