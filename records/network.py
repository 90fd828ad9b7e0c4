"""arch.json: what a network on disk is. Its weights, which have its sizes, are in model.safetensors, written first."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter

from records.files import read_digested_record, write_record
from records.numbers import Number

FILE_NAME = "arch.json"
WEIGHTS_NAME = "model.safetensors"

Width = Annotated[int, Field(ge=1, le=1 << 20)]
Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class NetworkRecord:
    """arch.json.

    network, arguments, width, classes, image_size: of the dense network (trainable.network.architecture). widths:
    channels of each group. mean, std: of red, green and blue in [0, 1], by which images are normalised. sha256: of
    model.safetensors. digest: of all the others (records.files).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="ignore")

    network: str
    arguments: dict[str, Any] = field(default_factory=dict)
    width: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    classes: Width
    image_size: Annotated[int, Field(ge=1, le=1 << 12)] = 32
    widths: tuple[Width, ...]
    mean: tuple[Number, Number, Number]
    std: tuple[Deviation, Deviation, Deviation]
    sha256: str
    digest: str | None = field(default=None, compare=False)


_SCHEMA = TypeAdapter(NetworkRecord)


def read_network_record(folder: Path) -> NetworkRecord:
    """The arch.json in `folder`; raises ValueError, in one line that names it, if it is missing or damaged."""
    return read_digested_record(folder / FILE_NAME, _SCHEMA)


def write_network_record(folder: Path, record: NetworkRecord) -> None:
    """Replaces the arch.json in `folder`."""
    write_record(folder / FILE_NAME, asdict(record))
