"""What was searched, on what, and how it stands, in sentences of what the records say."""

from collections.abc import Sequence

import pandas as pd

from analysis.columns import iterate_rows, number_of
from analysis.experiment import Experiment
from analysis.labels import select_kinds, spell
from analysis.text import format_count, format_percent, format_share, join_words, shorten_text
from records.driver import format_command, read_driver
from records.experiment import DataRecord, ExperimentFolder

_DATA = {"digits": "scikit-learn's handwritten digits", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}
# Up to this many classes are all named; of more, only the first few.
_MOST_NAMED, _FIRST_NAMED = 10, 5
_NETWORKS = {
    **{f"vgg{depth}": f"VGG{depth}" for depth in (11, 13, 16, 19)},
    **{f"resnet{depth}": f"ResNet-{depth}" for depth in (18, 20, 32, 34, 50, 56)},
    "mobilenet_v2": "MobileNetV2",
    "densenet121": "DenseNet-121",
}
_BUDGETS = {"macs": "multiply-accumulate operations (MACs)"}


def tell_story(experiment: Experiment) -> str:
    """One paragraph: the data, the network, what each trial does, what was tried, when and on what."""
    sentences = [
        f"Here a trained {_name_network(experiment)} image classifier is made smaller and cheaper by removing some of "
        "its channels, and many ways of doing so are tried.",
        _tell_images(experiment.record.data),
        _tell_dense(experiment),
        _tell_cut(experiment),
        _tell_tried(experiment.trials),
        _tell_when(experiment.trials),
    ]
    return " ".join(filter(None, sentences))


def tell_subject(experiment: Experiment) -> str:
    """The network, the images, how many trials, on one line."""
    data = experiment.record.data
    width = number_of(experiment.settings.get("dense"), "width")
    network = _name_network(experiment)
    network += f" at {format_share(width)} width" if width > 0 and width != 1 else ""
    parts = [f"{network} on {_name_data(data)}", format_count(len(experiment.trials), "trial")]
    if len(started := experiment.trials["started"].dropna()):
        parts.append(f"{started.max():%-d %B %Y}")
    return " · ".join(parts)


def tell_standing(experiment: Experiment) -> str:
    """How the experiment stands, unless everything has ended well; then nothing."""
    trials = experiment.trials
    states = trials["state"].value_counts()
    trials_planned = number_of(experiment.settings.get("search"), "trials")
    planned = int(trials_planned) if trials_planned > 0 else 0
    missing = max(0, planned - len(select_kinds(trials, "searched")))
    driver = read_driver(ExperimentFolder(experiment.path))
    if driver is not None and driver.searched:
        missing = 0  # trials whose records cannot be read, or for which the space had nothing new
    running, failed = int(states.get("running", 0)), int(states.get("failed", 0))
    have = "has" if missing == 1 else "have"
    parts = [f"{format_count(running, 'trial', 'has', 'have')} not finished"] if running else []
    parts += [f"{missing:,} of {format_count(planned, 'planned trial')} {have} not started"] if missing else []
    parts += [f"{format_count(failed, 'trial')} failed"] if failed else []
    if running or missing:
        return f"This search has not finished: {join_words(parts)}. What follows is what is known so far."
    return f"{parts[0]}." if parts else ""


def tell_seeds(experiment: Experiment) -> str:
    """That all results are of single runs, where they are; said once, it need not stand beside each number."""
    ranked = experiment.ranked
    if ranked.empty or (ranked["seeds"] > 0).any():
        return ""
    command = format_command(ExperimentFolder(experiment.path), "confirm")
    return (
        "One seed: every trial ran once, so small differences between them may be luck. "
        f"`{command}` repeats the best trials and the controls with other seeds, and runs the best without a fade."
    )


def _name_network(experiment: Experiment) -> str:
    """As it is written; earlier versions had only one."""
    settings = experiment.settings.get("network")
    name = settings.get("name") if isinstance(settings, dict) else "vgg16"
    return _NETWORKS.get(name, shorten_text(name)) if isinstance(name, str) else "an unknown network"


def _name_data(data: DataRecord) -> str:
    return _DATA.get(data.name, shorten_text(data.name).rstrip("/").split("/")[-1])


def _tell_images(data: DataRecord) -> str:
    text = _name_data(data)
    text += f" ({format_count(data.classes, 'class')}{_list_classes(data.class_names)})" if data.classes else ""
    parts = [
        f"{format_count(images, 'image')} {purpose}"
        for images, purpose in (
            (data.train_images, "to train on"),
            (data.validation_images, "held out to choose by"),
            (data.test_images, "kept aside for the final test"),
        )
        if images
    ]
    return f"The data: {text}" + (f", {join_words(parts)}." if parts else ".")


def _list_classes(names: Sequence[str]) -> str:
    shown = [shorten_text(name, 30) for name in names]
    if len(shown) > _MOST_NAMED:
        shown = [*shown[:_FIRST_NAMED], "…"]
    return f": {', '.join(shown)}" if shown else ""


def _tell_dense(experiment: Experiment) -> str:
    dense = experiment.dense
    if dense is None:
        return "The dense network, which all trials start from, has not been trained yet."
    width = number_of(experiment.settings.get("dense"), "width")
    facts = [f"{format_share(width)} of the published width"] if width > 0 and width != 1 else []
    facts += [f"{_format_millions(dense.parameters)} parameters", f"{_format_millions(dense.macs)} MACs per image"]
    how = f"was trained for {format_count(dense.epochs, 'epoch')} to" if dense.epochs else "was given, with"
    return (
        f"The dense (unpruned) network ({', '.join(facts)}) {how} a validation accuracy of "
        f"{format_percent(dense.val_accuracy)}."
    )


def _tell_cut(experiment: Experiment) -> str:
    trials = experiment.trials[experiment.trials["control"].isna()]
    rows = [row for _, row in iterate_rows(trials)]
    amounts = sorted({amount for row in rows if (amount := number_of(row, "pruning.amount")) > 0})
    texts = {text for row in rows if isinstance(text := row.get("pruning.of"), str)}
    budgets = sorted(_BUDGETS.get(text, shorten_text(text)) for text in texts)
    if not amounts:
        return ""
    epochs = number_of(experiment.settings.get("trial"), "epochs")
    over = f", over {format_count(int(epochs), 'epoch')} in all" if epochs > 0 else ""
    shares = list(dict.fromkeys(map(format_share, amounts)))
    how_much = f"{shares[0]} to {shares[-1]}" if len(shares) > 6 else join_words(shares, "or")
    what = how_much if budgets == ["channels"] else f"channels that hold {how_much}"
    return (
        f"Each trial with alpha marks {what} of its {join_words(budgets) or 'channels'}, fades them out with "
        f"a factor alpha that falls from 1 to 0, removes them, and retrains what is left{over}."
    )


def _tell_tried(trials: pd.DataFrame) -> str:
    if trials.empty:
        return "No trial has been started yet."
    searched = select_kinds(trials, "searched")
    parts = [format_count(len(searched), "trial")] if len(searched) else []
    families, policies = (sorted(set(searched[name].dropna().map(spell))) for name in ("alpha.family", "lr.policy"))
    if families:
        parts[0] += f" with {_list_names(families, 'alpha schedule')}"
        parts[0] += f" and {_list_names(policies, 'learning-rate policy')}" if policies else ""
    counts = trials["kind"].value_counts()
    others = [
        format_count(counts[kind], kind, one, more)
        for kind, one, more in (
            ("control", "", ""),
            ("branch", "of a trial", "of trials"),
            ("repeat", "with another seed", "with other seeds"),
            ("twin", "without a fade", "without a fade"),
        )
        if kind in counts
    ]
    return f"Tried: {'; also '.join(filter(None, [*parts, join_words(others)]))}."


def _list_names(names: list[str], thing: str) -> str:
    return f"{format_count(len(names), thing)} ({', '.join(names)})"


def _tell_when(trials: pd.DataFrame) -> str:
    started, ended = trials["started"].dropna(), trials["finished"].dropna()
    if started.empty:
        return ""
    first, last = started.min(), max([started.max(), *ended])
    same_day = first.date() == last.date()
    when = f"{first:%-d %B %Y, %H:%M} to {last:{'%H:%M' if same_day else '%-d %B %Y, %H:%M'}} UTC"
    devices = sorted({shorten_text(device) for device in trials["device"].dropna()})
    hosts = {shorten_text(host).rpartition(":")[0] or shorten_text(host) for host in trials["host"].dropna()}
    where = f" on {join_words(['the CPU' if device == 'cpu' else device for device in devices])}" if devices else ""
    return f"It ran from {when}{where}" + (f" of {format_count(len(hosts), 'machine')}." if hosts and devices else ".")


def _format_millions(value: float) -> str:
    return f"{value / 1e6:.3g} million" if value >= 1e5 else f"{value:,.0f}"
