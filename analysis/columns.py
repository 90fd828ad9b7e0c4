"""What every column of the frames is, in one table, and a frame's columns by name.

A new metric is one line in the table: the frames' types, the ranking's directions, what may not be compared between
devices, the tables of the terminal and the report, the axes of figures and the study's attributes all come from it.
"""

import difflib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from analysis.text import UNKNOWN, percent_number, printable
from records.measurement import BATCH_SIZES
from records.trial import BUDGETS

if TYPE_CHECKING:
    import pandas as pd

# fraction: in [0, 1]; points: a difference of fractions. Both are percentages where a person reads them.
ColumnKind = Literal["whole", "number", "fraction", "points", "flag", "text", "time"]

# Units are those of the frames; what a person reads is scaled.
_SHOWN = {"bytes": ("MB", 1e-6), "fraction": ("%", 100.0), "points": ("points", 100.0)}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a frame.

    kind: whole numbers are never missing. better: which values rank first; None where neither is good, and low ones do.
    of_device: whether it says as much of the device as of the network, so that different devices do not compare.
    label: what figures call it, without the unit. help: what it is.
    """

    name: str
    kind: ColumnKind
    help: str
    label: str = ""
    unit: str = ""
    better: Literal["high", "low"] | None = None
    of_device: bool = False

    @property
    def shown_unit(self) -> str:
        """The unit that a person reads."""
        return _SHOWN.get(self.unit or self.kind, (self.unit, 1.0))[0]

    @property
    def shown_scale(self) -> float:
        """What turns the frame's values into those in `shown_unit`."""
        return _SHOWN.get(self.unit or self.kind, (self.unit, 1.0))[1]

    @property
    def title(self) -> str:
        """The label with the unit, such as for an axis."""
        return f"{self.label}, {self.shown_unit}" if self.shown_unit else self.label

    def format_value(self, value: Any, digits: int = 2) -> str:
        """A value as tables show it, without its unit."""
        if self.kind in ("text", "time"):
            return printable(value) if isinstance(value, str) else UNKNOWN
        if self.kind in ("fraction", "points"):
            return percent_number(value, digits)
        return UNKNOWN if math.isnan(value) else f"{value * self.shown_scale:,.{digits}f}"


def _table_of(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


# One row per epoch: the fields of records.epoch.EpochRow. In all frames `number` is the index, in files a column.
EPOCH_COLUMNS = _table_of(
    Column("number", "whole", "the trial: the index"),
    Column("epoch", "whole", "1 for a trial's first; a branch counts on from its parent's", "epoch"),
    Column("phase", "text", "alpha, while channels fade out, or retrain, after the cut"),
    Column("alpha", "number", "what the channels to be removed are multiplied by; 0 after the cut", "alpha"),
    Column("lr", "number", "mean learning rate over the epoch's batches", "learning rate"),
    Column("train_loss", "number", "on the augmented training images", "training loss", better="low"),
    Column("train_accuracy", "fraction", "on the augmented training images", "training accuracy", better="high"),
    Column("val_loss", "number", "at the epoch's alpha", "validation loss", better="low"),
    Column("val_accuracy", "fraction", "at the epoch's alpha", "validation accuracy at this alpha", better="high"),
    Column("pruned_val_accuracy", "fraction", "if the cut were made now", "validation accuracy", better="high"),
    Column("channel_sparsity", "fraction", "of the dense network's channels", "channels cut", better="high"),
    Column("parameter_sparsity", "fraction", "of the dense network's parameters", "parameters cut", better="high"),
    Column("mac_sparsity", "fraction", "of the dense network's MACs", "MACs cut", better="high"),
    Column("training_cost", "number", "MACs of training, in dense epochs", "training cost", "dense epochs", "low"),
    Column("images_per_second", "number", "training throughput", "training throughput", "images/s", "high"),
    Column("epoch_seconds", "number", "training, validation and projection", "time of the epoch", "s", "low"),
)


def _of_device(name: str, label: str, unit: str, better: Literal["high", "low"], help_text: str) -> Column:
    return Column(name, "number", help_text, label, unit, better, of_device=True)


# What `alphaprune measure` adds to a trial. Memory is the process's own: resident on a CPU, allocated on a GPU, and
# over what it holds idle.
MEASUREMENT_COLUMNS = _table_of(
    Column("test_accuracy", "fraction", "of the pruned network on the whole test set", "test accuracy", better="high"),
    Column("size_bytes", "number", "of the pruned network's model.safetensors", "size on disk", "bytes", "low"),
    *(
        _of_device(f"batch{size}_latency_ms", f"latency of a batch of {size}", "ms", "low", "one forward pass, median")
        for size in BATCH_SIZES
    ),
    *(
        _of_device(f"batch{size}_speedup", f"speed-up in batches of {size}", "", "high", "dense / pruned latency")
        for size in BATCH_SIZES
    ),
    *(
        _of_device(
            f"batch{size}_images_per_second", f"throughput in batches of {size}", "images/s", "high", "size / latency"
        )
        for size in BATCH_SIZES
    ),
    _of_device("test_seconds", "time for the whole test set", "s", "low", "the test set once, in batches of 256"),
    _of_device("peak_memory_bytes", "peak memory on the test set", "bytes", "low", "weights included"),
    _of_device("mean_memory_bytes", "mean memory on the test set", "bytes", "low", "averaged over time"),
    _of_device("weights_bytes", "memory of the weights", "bytes", "low", "parameters and buffers"),
    _of_device(
        "activation_bytes", "memory of the activations", "bytes", "low", "peak of a batch of 256, besides weights"
    ),
    Column("measured_on", "text", "the device and its threads", "measured on"),
    Column("measured", "time", "when, UTC"),
)

# One row per trial; epoch columns are those of its last epoch. Besides them come the other leaves of its configuration.
TRIAL_COLUMNS = _table_of(
    Column("number", "whole", "the index"),
    Column("kind", "text", "searched (the study asked for it), control, branch, repeat or twin"),
    Column("control", "text", "one_shot, random_channels or from_scratch; NaN for all but controls and their repeats"),
    Column("parent", "number", "the trial that a branch continues; NaN for all others"),
    Column("confirms", "number", "the trial that is repeated with another seed; NaN for all but repeats and twins"),
    Column("twin", "text", "of a twin, the budget in which it equals the trial it confirms: epochs, compute or both"),
    Column("state", "text", "running, complete, stopped or failed"),
    Column("alpha.family", "text", "how alpha falls", "alpha schedule"),
    Column("alpha.rate", "number", "how steeply; NaN where the family has none", "rate of the schedule"),
    Column("lr.policy", "text", "how the learning rate falls", "learning-rate policy"),
    Column("epochs_done", "whole", "the last epoch that has a row, 0 where none has", "epochs"),
    EPOCH_COLUMNS["pruned_val_accuracy"],
    EPOCH_COLUMNS["val_accuracy"],
    Column("accuracy_at_cut", "fraction", "right after the cut, before retraining", "accuracy at the cut", "", "high"),
    Column("accuracy_drop", "points", "dense val_accuracy - pruned_val_accuracy", "accuracy drop", "", "low"),
    EPOCH_COLUMNS["mac_sparsity"],
    EPOCH_COLUMNS["parameter_sparsity"],
    EPOCH_COLUMNS["channel_sparsity"],
    Column("macs", "number", "of the pruned network; before the cut, of what it would leave", "MACs", "", "low"),
    Column("parameters", "number", "likewise", "parameters", "", "low"),
    *MEASUREMENT_COLUMNS.values(),
    Column(
        "training_cost",
        "number",
        "the sum over its epochs: MACs of training, in epochs of the dense network",
        "training cost",
        "dense epochs",
        "low",
    ),
    Column("seconds", "number", "the sum of its epoch_seconds", "training time", "s", "low"),
    Column("attempt", "whole", "how often it was started"),
    Column("host", "text", "where it ran last, as hostname:pid"),
    Column("device", "text", "cpu or the GPU's name"),
    Column("error", "text", "why it failed"),
    Column("created", "time", "UTC"),
    Column("started", "time", "UTC"),
    Column("finished", "time", "UTC"),
)

# What a trial's repeats with other seeds say of it (rank.seeds).
SEED_COLUMNS = _table_of(
    Column("seeds", "whole", "its complete repeats whose accuracy is known; 0: one seed has been tried", better="high"),
    Column("test_seeds", "whole", "those of them that have a test_accuracy", better="high"),
    Column("accuracy_std", "points", "sample standard deviation of pruned_val_accuracy over them", better="low"),
    Column("test_accuracy_std", "points", "likewise of test_accuracy", better="low"),
)

# What the pairs of its repeats and its twins, which are the same without a fade, say of a trial (rank.pairs).
PAIR_COLUMNS = _table_of(
    Column("pairs", "whole", "the seeds with which both a repeat and a twin of it are complete", better="high"),
    *(
        column
        for budget in BUDGETS
        for column in (
            Column(
                f"twin_{budget}_difference",
                "points",
                f"accuracy minus the twin's at equal {budget}, mean over the pairs; of test_accuracy if all have one",
                f"gain over the twin of equal {budget}",
                better="high",
            ),
            Column(f"twin_{budget}_margin", "points", "half the width of its 95% interval", better="low"),
        )
    ),
)

# What ranking puts before all others.
RANKING_COLUMNS = _table_of(
    Column("rank", "whole", "from 1"),
    Column("on_front", "flag", "whether no other row dominates it in accuracy and MACs"),
    Column("front", "number", "0 for those, 1 for those undominated without them, and so on"),
    Column("crowding", "number", "its crowding distance on its front", better="high"),
    Column("score", "number", "the weighted sum, where weights are given", better="high"),
    *SEED_COLUMNS.values(),
    *PAIR_COLUMNS.values(),
)

COLUMNS = EPOCH_COLUMNS | TRIAL_COLUMNS | RANKING_COLUMNS
# How many columns are listed where one that does not exist is asked for.
_MOST_LISTED = 16


def column(frame: "pd.DataFrame", name: str) -> "pd.Series":
    """The column `name`; raises ValueError, in one line, naming the nearest one, or all if they are few."""
    if name in frame.index.names:
        return frame.index.get_level_values(name).to_series(index=frame.index)
    if name in frame:
        return frame[name]
    names = [*map(str, frame.index.names), *map(str, frame.columns)]
    same_leaf = [known for known in names if known.endswith(f".{name}")]
    near = same_leaf or difflib.get_close_matches(name, names, n=1)
    if near:
        hint = f"did you mean {near[0]!r}?"
    elif len(names) <= _MOST_LISTED:
        hint = f"there are: {', '.join(names)}"
    else:
        nearest = difflib.get_close_matches(name, names, n=3, cutoff=0)
        hint = f"the nearest are {', '.join(map(repr, nearest))}; `rank NAME --format csv` has all {len(names)}"
    raise ValueError(f"there is no column {printable(name)!r}; {hint}")


def describe_columns(frames: "Mapping[str, pd.DataFrame]") -> "pd.DataFrame":
    """The data dictionary of frames: a row per column, indexed by its `name`, in the order of the frames.

    Its own columns: `frames`, those that have it; `kind` (ColumnKind; `setting` for the leaves of the configurations);
    `unit` of the values; `better`, high or low; `of_device`, whether only values of one device compare; `label`;
    `help`.

    Args:
        frames: by name.
    """
    import pandas as pd

    of_frame = {place: [*filter(None, frame.index.names), *frame.columns] for place, frame in frames.items()}
    rows = []
    for name in dict.fromkeys(str(name) for names in of_frame.values() for name in names):
        known = COLUMNS.get(name) or Column(name, "text", f"the setting trial.{name}: see `alphaprune settings`")
        rows.append(
            {
                "name": name,
                "frames": ", ".join(place for place, names in of_frame.items() if name in names),
                "kind": known.kind if name in COLUMNS else "setting",
                "unit": known.unit,
                "better": known.better or "",
                "of_device": known.of_device,
                "label": known.label,
                "help": known.help,
            }
        )
    return pd.DataFrame(rows).set_index("name")


def iterate_rows(frame: "pd.DataFrame") -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a frame whose index is the trial's number."""
    names = [str(name) for name in frame.columns]
    # Several times as fast as to_dict("records").
    values = [frame.iloc[:, place].tolist() for place in range(len(names))]
    for number, *row in zip(frame.index.tolist(), *values, strict=True):
        yield number, dict(zip(names, row, strict=True))


def row_of(frame: "pd.DataFrame", number: int) -> dict[str, Any]:
    """The row of the trial `number`."""
    return next(iterate_rows(frame.loc[[number]]))[1]


def number_of(values: Any, key: str) -> float:
    """The number that `values` holds under `key`; NaN where it is no JSON object or holds none that is finite."""
    value = values.get(key) if isinstance(values, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
        return math.nan
    return float(value)
