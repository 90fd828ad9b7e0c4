"""Finds the groups of a network: by torch_pruning's dependency graph, and by trying a cut before it is trusted."""

import copy
import json
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainable.function_import import describe_error
from trainable.network.architecture import Architecture
from trainable.network.layout import Group, Layer, Layout, Span
from trainable.network.placement import replace_tensors

# By which the logits of a network and of its cut may differ, relative to the largest, in float64. Rounding gives 1e-11
# in networks that magnify small differences; in float32 that would be more than what some wrong cuts change.
TOLERANCE = 1e-7
_IMAGES = 2


class _Candidate(NamedTuple):
    """What the dependency graph takes for a group. members: of each module and dimension (0 or 1), whose entry is
    which channel: an array, -1 where it is none. is_read: whether a layer reads its channels. refusal: why it cannot be
    a group; empty if nothing is known."""

    name: str
    width: int
    members: dict[tuple[str, int], np.ndarray]
    is_read: bool
    refusal: str


def find_layout(architecture: Architecture) -> Layout:
    """The layout of a network, whatever its weights are.

    A group is accepted if the network does not change when the group's batch normalisations are set to 0 for some of
    its channels, and these are then removed.

    Raises:
        ValueError: if the network cannot be built, run or traced, or if none of its channels can be cut.
    """
    # A copy: an architecture may have been given arguments that can be changed.
    return _find_layout_of(
        architecture.name,
        architecture.classes,
        architecture.width,
        architecture.image_size,
        json.dumps(dict(architecture.arguments), sort_keys=True),
    )


@lru_cache(maxsize=8)
def _find_layout_of(name: str, classes: int, width: float, image_size: int, arguments: str) -> Layout:
    architecture = Architecture(name, classes, width, image_size, json.loads(arguments))
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(0)
        network = architecture.build().to("cpu", torch.float64).eval()
        _check_tensors(name, network)
        _draw_constants(network)
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point())  # or the graph would not see what is frozen
        images = torch.rand(_IMAGES, 3, image_size, image_size, dtype=torch.float64)
        _check_output(architecture, network, images)
        candidates = _list_candidates(name, network, images)
        layers, counted = _list_layers(network, images)
        accepted, refused = _try_cuts(network, images, layers, candidates)
    if not accepted:
        raise ValueError(
            f"network {name!r} must have channels that can be cut, but has none: "
            f"{'; '.join(refused) or 'no convolutions'}; docs/networks.md says what can be cut"
        )
    groups = tuple(Group(each.name, each.width) for each in accepted)
    return Layout(groups, _assign_groups(layers, accepted), tuple(refused), *counted)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Float64 convolutions come in many small pieces, after each of which threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_tensors(name: str, network: nn.Module) -> None:
    """Raises ValueError for what a cut network could not be made of."""
    seen: dict[int, str] = {}
    for tensor_name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) in seen:
            raise ValueError(
                f"network {name!r} must not share tensors, but {seen[id(tensor)]} is also {tensor_name}; "
                "give each layer its own"
            )
        seen[id(tensor)] = tensor_name


def _check_output(architecture: Architecture, network: nn.Module, images: Tensor) -> None:
    """Raises ValueError if it does not give logits, of which some networks give more while they train."""
    wanted = [_IMAGES, architecture.classes]
    for mode, each in (("", network), (" in training mode", copy.deepcopy(network).train())):
        try:
            with torch.no_grad():
                logits = each(images)
        except Exception as error:
            raise ValueError(
                f"network {architecture.name!r} must take images of shape {list(images.shape)} in double precision, "
                f"but raised {describe_error(error)}{mode}; fix the network, or data.image_size"
            ) from error
        if not isinstance(logits, Tensor) or list(logits.shape) != wanted:
            got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"network {architecture.name!r} must return logits of shape {wanted}, but returned {got}{mode}; "
                "return these alone"
            )


def _draw_constants(network: nn.Module) -> None:
    """Random numbers for parameters whose elements are all equal, so that nothing cancels out or is multiplied by 0;
    as drawn from the global generator."""
    for norm in _list_norms(network):
        for tensor, bounds in ((norm.weight, (0.5, 1.5)), (norm.bias, (-0.5, 0.5))):
            if tensor is not None:
                nn.init.uniform_(tensor, *bounds)
    for parameter in network.parameters():
        if parameter.is_floating_point() and parameter.numel() and (parameter == parameter.flatten()[0]).all():
            nn.init.uniform_(parameter, 0.5, 1.5)


def _set_statistics(network: nn.Module, images: Tensor) -> None:
    """Those of `images`, which are normalised as in training.

    With other statistics, what a wrong cut changes in an early layer would be lost on the way through many layers.
    """
    norms = _list_norms(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
        if norm.running_var is not None:
            # A channel that happens to be nearly the same everywhere would magnify rounding errors.
            norm.running_var.clamp_(min=float(norm.running_var.mean()) / 10)


def _list_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]


def _list_layers(network: nn.Module, images: Tensor) -> tuple[list[Layer], tuple[int, int]]:
    """The layers, none of them cut, and the parameters and MACs that are in none of them."""
    positions: dict[str, int] = {}

    def note(name: str, module: nn.Module, inputs: object, output: Tensor) -> None:
        outputs = output.shape[1] if isinstance(module, nn.Conv2d) else output.shape[-1]
        positions[name] = positions.get(name, 0) + output.numel() // len(images) // outputs

    counted = [(name, each) for name, each in network.named_modules() if isinstance(each, nn.Conv2d | nn.Linear)]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in counted]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    for hook in hooks:
        hook.remove()
    layers = []
    for name, module in network.named_modules():
        match module:
            case nn.Conv2d() | nn.Linear():
                weight, is_linear = module.weight, isinstance(module, nn.Linear)
                layer = Layer(
                    name,
                    "linear" if is_linear else "convolution",
                    (Span(None, weight.shape[0]),),
                    (Span(None, weight.shape[1]),),
                    area=weight[0, 0].numel(),
                    vectors=int(module.bias is not None),
                    positions=positions.get(name, 0),
                )
            case nn.BatchNorm2d():
                vectors = sum(tensor is not None for tensor in (module.weight, module.bias))
                layer = Layer(name, "normalisation", (Span(None, module.num_features),), vectors=vectors)
            case _:
                continue
        layers.append(layer)
    plain = Layout((), tuple(layers))
    parameters = sum(parameter.numel() for parameter in network.parameters()) - plain.count("parameters", ())
    return layers, (parameters, counter.get_total_flops() // 2 // len(images) - plain.count("macs", ()))


def _list_candidates(name: str, network: nn.Module, images: Tensor) -> list[_Candidate]:
    """The groups of the dependency graph, in the order of their first layers, without those that nothing reads."""
    import torch_pruning

    modules = {module: each for each, module in network.named_modules()}
    order = {each: number for number, each in enumerate(modules.values())}
    roots = [nn.Conv2d, nn.Linear]
    try:
        with _quiet():
            graph = torch_pruning.DependencyGraph().build_dependency(network, images)
            groups = [list(group) for group in graph.get_all_groups(root_module_types=roots)]
    except Exception as error:
        raise ValueError(
            f"network {name!r} must be one that torch_pruning's dependency graph can trace, but that raised "
            f"{describe_error(error)}; write that part of the network in another way"
        ) from error
    found = [_read_group(group, modules, order) for group in groups]
    # What nothing reads is the output; where a module was refused, it may be that which reads.
    read = [each for each in found if each.is_read or each.refusal]
    return list(_name_apart(sorted(read, key=lambda each: order[each.name])))


def _name_apart(candidates: Iterable[_Candidate]) -> Iterator[_Candidate]:
    """The candidates, of which several may be of one layer: where a sum has channels of its own with several others."""
    found: Counter[str] = Counter()
    for each in candidates:
        found[each.name] += 1
        yield each if found[each.name] == 1 else each._replace(name=f"{each.name} ({found[each.name]})")


@contextmanager
def _quiet() -> Iterator[None]:
    """torch_pruning warns of what is checked here anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_group(group: Sequence, modules: Mapping[nn.Module, str], order: Mapping[str, int]) -> _Candidate:  # type: ignore[type-arg]
    """A group as the dependency graph gives it: which entries of which modules are which of its channels."""
    members: dict[tuple[str, int], np.ndarray] = {}
    writers, is_read, refusals = [], False, []
    for item in group:
        module, handler = item.dep.target.module, item.dep.handler.__name__
        if module not in modules:
            if isinstance(module, nn.Parameter):
                refusals.append(f"a parameter of its own, {item.dep.target.name}, has the same channels")
            continue  # an operation
        name, entries = modules[module], np.array(item.idxs)
        is_column = "in_channels" in handler and not _is_depthwise(module)
        is_read |= is_column
        if not is_column:
            # Layers that compute channels come before those that follow them, which more than one group may share.
            writers.append((_is_depthwise(module) or not isinstance(module, nn.Conv2d | nn.Linear), order[name], name))
        if not (refusal := _refuse_module(name, module)):
            length = _count_entries(module, int(is_column))
            if len(entries) and entries.max() < length:
                channels = members.setdefault((name, int(is_column)), np.full(length, -1))
                channels[entries] = item.root_idxs
                continue
            refusal = f"the dependency graph gives {name} more channels than it has"
        refusals.append(refusal)
    width = 1 + max(group[0].root_idxs)
    return _Candidate(min(writers)[2], width, members, is_read, refusals[0] if refusals else "")


def _is_depthwise(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and 1 < module.groups == module.in_channels == module.out_channels


def _count_entries(module: nn.Module, dimension: int) -> int:
    return module.num_features if isinstance(module, nn.BatchNorm2d) else cast(Tensor, module.weight).shape[dimension]


def _refuse_module(name: str, module: nn.Module) -> str:
    """Why a module's channels are never cut; empty if they may be."""
    kind = type(module).__name__
    match module:
        case nn.BatchNorm2d():
            if type(module) is not nn.BatchNorm2d:
                return f"{name} is of the class {kind}, which is not supported"
            if module.weight is None or module.bias is None:
                return f"{name} has no scale and shift"
            if module.running_mean is None or module.momentum is None:
                return f"{name} keeps no moving averages"
        case nn.Conv2d():
            if module.groups > 1 and not _is_depthwise(module):
                return f"{name} is a convolution in {module.groups} groups"
            if type(module).forward is not nn.Conv2d.forward:
                return f"{name} is of the class {kind}, which is not supported"
        case nn.Linear():
            if type(module).forward is not nn.Linear.forward:
                return f"{name} is of the class {kind}, which is not supported"
        case _:
            return f"{name} is of the class {kind}, which is not supported"
    return ""


def _try_cuts(
    network: nn.Module, images: Tensor, layers: Sequence[Layer], candidates: Sequence[_Candidate]
) -> tuple[list[_Candidate], list[str]]:
    """The candidates that can be cut without a change of the output, and for the others their names and the reasons."""
    refused = {each.name: each.refusal or _refuse_members(network, each) for each in candidates}

    def list_accepted() -> list[_Candidate]:
        return [each for each in candidates if not refused[each.name]]

    if list_accepted() and _explain_failure(network, images, layers, list_accepted()):
        for each in list_accepted():
            refused[each.name] = _explain_failure(network, images, layers, [each])
        # Groups that can be cut one by one, but not together: none is known, so none is looked for.
        if list_accepted() and _explain_failure(network, images, layers, list_accepted()):
            for each in list_accepted():
                refused[each.name] = "it cannot be cut together with the other groups"
    return list_accepted(), [f"{name}: {reason}" for name, reason in refused.items() if reason]


def _refuse_members(network: nn.Module, candidate: _Candidate) -> str:
    """Why a candidate cannot be a group, as far as its members tell; empty if they do not."""
    # Not left to the trial cut, to which a ReLU looks like a gate if it happens to give 0 for all images.
    if not any(isinstance(network.get_submodule(name), nn.BatchNorm2d) for name, _ in candidate.members):
        return "no batch normalisation comes after it"
    for (name, _), channels in candidate.members.items():
        try:
            list(_list_spans(channels, candidate.width, 0))
        except ValueError:
            return f"its channels are scattered over those of {name}"
    return ""


def _explain_failure(
    network: nn.Module, images: Tensor, layers: Sequence[Layer], candidates: Sequence[_Candidate]
) -> str:
    """Why a cut of all candidates fails; empty if the output is the same where random channels of all are 0 after their
    batch normalisations, and where they have been removed."""
    groups = tuple(Group(each.name, each.width) for each in candidates)
    layout = Layout(groups, _assign_groups(layers, candidates))
    masks = [_draw_mask(width) for width in layout.widths]
    gated = copy.deepcopy(network)
    try:
        with torch.no_grad():
            for layer in layout.layers:
                mask = layout.mask_axis(layer.rows, masks)
                if layer.kind == "normalisation" and mask is not None:
                    norm = cast(nn.BatchNorm2d, gated.get_submodule(layer.name))
                    norm.weight.mul_(mask)
                    norm.bias.mul_(mask)
            _set_statistics(gated, images)
            pruned = replace_tensors(gated, layout.select(gated.state_dict(), masks))
            expected, got = gated(images), pruned(images)
    except Exception as error:  # sizes that no longer fit, as of a view with fixed numbers
        return f"without some of its channels, the network raises {describe_error(error)}"
    if (expected - got).abs().max() <= TOLERANCE * expected.abs().max():
        return ""
    return "what reads it still gets something where its batch normalisation is 0"


def _draw_mask(width: int) -> Tensor:
    """About half of the channels; at least one, and of several not all."""
    mask = torch.rand(width) < 0.5
    mask[torch.randint(width, ())] = True
    if width > 1:
        mask[torch.where(mask)[0][0]] = mask.sum() == 1
    return mask


def _assign_groups(layers: Iterable[Layer], accepted: Sequence[_Candidate]) -> tuple[Layer, ...]:
    """The layers, with the groups that their rows and columns belong to."""

    def find(layer: Layer, dimension: int, axis: tuple[Span, ...]) -> tuple[Span, ...]:
        owners = [(group, each) for group, each in enumerate(accepted) if (layer.name, dimension) in each.members]
        if not owners:
            return axis
        spans = [
            (start, span)
            for group, each in owners
            for start, span in _list_spans(each.members[layer.name, dimension], each.width, group)
            if span.group is not None
        ]
        filled, end = [], 0
        for start, span in sorted(spans):
            filled += [Span(None, start - end)] if start > end else []
            filled.append(span)
            end = start + span.entries
        total = sum(span.entries for span in axis)
        return (*filled, *([Span(None, total - end)] if total > end else []))

    return tuple(
        Layer(
            layer.name,
            layer.kind,
            find(layer, 0, layer.rows),
            find(layer, 1, layer.columns),
            layer.area,
            layer.vectors,
            layer.positions,
        )
        for layer in layers
    )


def _list_spans(channels: np.ndarray, width: int, group: int) -> Iterator[tuple[int, Span]]:
    """The spans of a dimension that hold all channels of a group, one after another, and where each starts.

    Raises:
        ValueError: if the channels are there in another order.
    """
    entry = 0
    while entry < len(channels):
        if channels[entry] < 0:
            entry += 1
            continue
        same = channels[entry:] == channels[entry]
        repeats = len(same) if same.all() else int(np.argmin(same))
        span = channels[entry : entry + repeats * width]
        if not np.array_equal(span, np.repeat(np.arange(width), repeats)):
            raise ValueError("in another order")
        yield entry, Span(group, repeats * width)
        entry += repeats * width
