"""Which channels of a network belong together, which tensors they are in, and what the network costs at any widths."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass
from torch import Tensor

from records.files import read_digested_record, write_record

FILE_NAME = "layout.json"
_STRICT = ConfigDict(extra="ignore")

Cost = Literal["macs", "parameters", "channels"]


class Span(NamedTuple):
    """Consecutive entries of a tensor's dimension.

    group: which group's channels they are, None if they are never cut. entries: how many there are in the dense
    network, the same number for each channel of the group, one channel after another.
    """

    group: int | None
    entries: int


@dataclass(frozen=True, config=_STRICT)
class Group:
    """Channels that are only removed together. name: the first layer that computes them. width: how many there are."""

    name: str
    width: int


@dataclass(frozen=True, config=_STRICT)
class Layer:
    """A convolution, a linear layer or a batch normalisation.

    name: of the module. rows: what the first dimension of its tensors is; columns: the second of its weights, which a
    normalisation has not. area: weights for each row and column. vectors: parameters for each row besides, such as
    biases. positions: how often each weight is multiplied for one image.
    """

    name: str
    kind: Literal["convolution", "linear", "normalisation"]
    rows: tuple[Span, ...]
    columns: tuple[Span, ...] = ()
    area: int = 0
    vectors: int = 0
    positions: int = 0


@dataclass(frozen=True, config=_STRICT)
class Layout:
    """The groups of a network, in the order of its layers, and the layers.

    whole: groups that are never cut: a layer's name and the reason. other_parameters, other_macs: what the network has
    and does besides the layers.
    """

    groups: tuple[Group, ...]
    layers: tuple[Layer, ...]
    whole: tuple[str, ...] = ()
    other_parameters: int = 0
    other_macs: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Of the dense network's groups."""
        return tuple(group.width for group in self.groups)

    def count(self, cost: Cost, widths: Sequence[int]) -> int:
        """The cost of the network at these widths, one for each group.

        macs: multiply-accumulates for one image, as in torch.utils.flop_counter (/ 2). parameters: all of them.
        channels: outputs of all convolutions.
        """
        match cost:
            case "macs":
                return self.other_macs + sum(
                    self._count_weights(layer, widths) * layer.positions for layer in self.layers
                )
            case "parameters":
                return self.other_parameters + sum(
                    self._count_weights(layer, widths) + layer.vectors * self._count_entries(layer.rows, widths)
                    for layer in self.layers
                )
            case "channels":
                convolutions = (layer for layer in self.layers if layer.kind == "convolution")
                return sum(self._count_entries(layer.rows, widths) for layer in convolutions)

    def _count_weights(self, layer: Layer, widths: Sequence[int]) -> int:
        return layer.area * self._count_entries(layer.rows, widths) * self._count_entries(layer.columns, widths)

    def _count_entries(self, axis: Sequence[Span], widths: Sequence[int]) -> int:
        """The length of a dimension at these widths."""
        return sum(
            span.entries if span.group is None else span.entries // self.groups[span.group].width * widths[span.group]
            for span in axis
        )

    def resize(self, widths: Sequence[int]) -> "Layout":
        """The layout of the same network at other widths, one for each group."""

        def resize_axis(axis: Sequence[Span]) -> tuple[Span, ...]:
            return tuple(Span(span.group, self._count_entries([span], widths)) for span in axis)

        groups = tuple(Group(group.name, width) for group, width in zip(self.groups, widths, strict=True))
        layers = tuple(
            replace(layer, rows=resize_axis(layer.rows), columns=resize_axis(layer.columns)) for layer in self.layers
        )
        return replace(self, groups=groups, layers=layers)

    def compute_sparsities(self, widths: Sequence[int]) -> dict[str, float]:
        """The fractions in [0, 1) of the dense network that are lacking at these widths."""
        names: dict[str, Cost] = {
            "channel_sparsity": "channels",
            "parameter_sparsity": "parameters",
            "mac_sparsity": "macs",
        }
        return {name: 1 - self.count(cost, widths) / self.count(cost, self.widths) for name, cost in names.items()}

    def select(self, tensors: Mapping[str, Tensor], masks: Sequence[Tensor]) -> dict[str, Tensor]:
        """What the kept channels have of `tensors`.

        Args:
            tensors: by the names of parameters and buffers: these themselves, or what an optimizer keeps of each.
            masks: for each group [width] of bool, True where the channel is kept.

        Returns:
            Copies, filters among them in channels-last.
        """
        kept = {}
        for name, tensor in tensors.items():
            rows, columns = self._axes.get(name, ((), ()))
            # An index copies; where there is none, `copy_` or `clone` does.
            selected = tensor if (chosen := self.mask_axis(rows, masks)) is None else tensor[chosen.to(tensor.device)]
            if (chosen := self.mask_axis(columns, masks)) is not None:
                selected = selected[:, chosen.to(tensor.device)]
            if selected.ndim == 4:
                # Not `contiguous`, which leaves the strides of filters with one channel as they happen to be, and on
                # which a convolution's last bits depend: a trial that is resumed would not be the same to the bit.
                kept[name] = torch.empty_like(selected, memory_format=torch.channels_last).copy_(selected)
            else:
                kept[name] = selected.clone() if selected.data_ptr() == tensor.data_ptr() else selected
        return kept

    @cached_property
    def _axes(self) -> dict[str, tuple[tuple[Span, ...], tuple[Span, ...]]]:
        """The dimensions of the layers' tensors, by name."""
        axes = {}
        for layer in self.layers:
            axes[f"{layer.name}.weight"] = layer.rows, layer.columns
            for name in ("bias", "running_mean", "running_var"):
                axes[f"{layer.name}.{name}"] = layer.rows, ()
        return axes

    def mask_axis(self, axis: Sequence[Span], masks: Sequence[Tensor]) -> Tensor | None:
        """The mask of a dimension's entries; None if none of them is ever cut."""
        if all(span.group is None for span in axis):
            return None
        return torch.cat(
            [
                torch.ones(span.entries, dtype=torch.bool)
                if span.group is None
                else masks[span.group].repeat_interleave(span.entries // len(masks[span.group]))
                for span in axis
            ]
        )

    def list_members(self, kind: str) -> Iterator[tuple[int, Layer, slice]]:
        """The layers of a kind that have a group's channels as rows: the group, the layer, and which of its rows."""
        for layer in self.layers:
            start = 0
            for span in layer.rows:
                if span.group is not None and layer.kind == kind:
                    yield span.group, layer, slice(start, start + span.entries)
                start += span.entries


_SCHEMA = TypeAdapter(Layout)


def read_layout(folder: Path) -> Layout:
    """The layout.json in `folder`; raises ValueError, in one line that names it, if it is missing or damaged."""
    return read_digested_record(folder / FILE_NAME, _SCHEMA)


def write_layout(folder: Path, layout: Layout) -> None:
    """Replaces the layout.json in `folder`."""
    write_record(folder / FILE_NAME, asdict(layout))
