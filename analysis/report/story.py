"""What was searched, on what, and how it stands, in sentences of what the records say."""

import pandas as pd

from analysis.experiment import Experiment
from analysis.labels import count, percentage, texts_in
from analysis.report.phrases import family_name, listed, plain, share, whole
from analysis.tables.trials import number_of
from records.experiment import DataRecord

_DATA = {"digits": "scikit-learn's handwritten digits", "cifar10": "CIFAR-10"}
_OF = {"macs": "multiply-accumulate operations (MACs)", "parameters": "parameters", "channels": "channels"}


def story(experiment: Experiment) -> str:
    """One paragraph: the data, the network, what each trial does, what was tried, when and on what."""
    sentences = [
        "A trained VGG16 image classifier is made smaller and cheaper here by removing part of its channels, and many "
        "ways to do that are tried.",
        _images(experiment.record.data),
        _dense(experiment),
        _cut(experiment),
        _tried(experiment.trials),
        _when(experiment.trials),
    ]
    return " ".join(filter(None, sentences))


def standing(experiment: Experiment) -> str:
    """How the experiment stands, where not all has ended well; else nothing."""
    trials = experiment.trials
    states = trials["state"].value_counts()
    planned = whole(number_of(experiment.settings.get("search"), "trials"))
    searched = trials[trials["control"].isna() & trials["parent"].isna() & trials["confirms"].isna()]
    missing = 0 if planned is None else planned - len(searched)
    running, failed = int(states.get("running", 0)), int(states.get("failed", 0))
    parts = []
    if running:
        parts.append(f"{count(running, 'trial')} {'has' if running == 1 else 'have'} not ended")
    if missing > 0:
        parts.append(
            f"{missing:,} of {count(planned or 0, 'planned trial')} {'has' if missing == 1 else 'have'} not begun"
        )
    if failed:
        parts.append(f"{count(failed, 'trial')} failed")
    if not parts:
        return ""
    unfinished = "This search has not ended: " if running or missing > 0 else ""
    text = f"{unfinished}{listed(parts)}."
    return text + (" What follows is what is known so far." if unfinished else "")


def _images(data: DataRecord) -> str:
    of = _DATA.get(data.name, plain(data.name).rstrip("/").split("/")[-1])
    of += f" ({data.classes:,} class{'' if data.classes == 1 else 'es'})"
    parts = [
        f"{count(images, 'image')} {purpose}"
        for images, purpose in (
            (data.train_images, "to train on"),
            (data.validation_images, "held out to choose by"),
            (data.test_images, "kept aside for the final test"),
        )
        if images
    ]
    return f"The data: {of}" + (f", {listed(parts)}." if parts else ".")


def _dense(experiment: Experiment) -> str:
    dense = experiment.dense
    if dense is None:
        return "The dense network, which all trials start from, is not trained yet."
    width = number_of(experiment.settings.get("dense"), "width")
    facts = [f"{share(width)} of the published width"] if width > 0 and width != 1 else []
    facts += [
        f"{_millions(value)} {what}"
        for value, what in ((dense.parameters, "parameters"), (dense.macs, "MACs an image"))
        if value
    ]
    text = "The dense (unpruned) network"
    text += f" ({', '.join(facts)})" if facts else ""
    trained = f" was trained for {count(dense.epochs, 'epoch')}" if dense.epochs else " was trained"
    return f"{text}{trained} to a validation accuracy of {percentage(dense.val_accuracy)}."


def _cut(experiment: Experiment) -> str:
    trials, trial = experiment.trials[experiment.trials["control"].isna()], experiment.settings.get("trial")
    amounts = sorted(set(_numbers(trials, "pruning.amount")))
    of = sorted({_OF.get(text, plain(text)) for text in texts_in(trials, "pruning.of").dropna()})
    if not amounts:
        return ""
    epochs = whole(number_of(trial, "epochs"))
    over = f", over {count(epochs, 'epoch')} in all" if epochs else ""
    shares = list(dict.fromkeys(map(share, amounts)))
    how_much = " or ".join(filter(None, [", ".join(shares[:-1]), shares[-1]]))
    if len(shares) > 6:
        how_much = f"{shares[0]} to {shares[-1]}"
    what = how_much if of == ["channels"] else f"channels that hold {how_much}"
    return (
        f"Each trial but the controls marks {what} of its {listed(of) or 'channels'}, fades them out by a factor alpha "
        f"that falls from 1 to 0, removes them, and retrains what is left{over}."
    )


def _tried(trials: pd.DataFrame) -> str:
    if trials.empty:
        return "No trial has been started yet."
    repeat, control = trials["confirms"].notna(), trials["control"].notna()
    branch = trials["parent"].notna() & ~repeat & ~control
    searched = trials[~repeat & ~control & ~branch]
    parts = [count(len(searched), "trial")] if len(searched) else []
    families = sorted({family_name(family) for family in searched["family"].dropna()})
    policies = sorted({family_name(policy) for policy in searched["policy"].dropna()})
    if families:
        parts[0] += f" of {_some(families, 'alpha schedule')}"
        parts[0] += f" and {_some(policies, 'learning-rate policy')}" if policies else ""
    others = [
        f"{int(number):,} {one if number == 1 else more}"
        for number, one, more in (
            ((control & ~repeat).sum(), "control", "controls"),
            (branch.sum(), "branch of a trial", "branches of trials"),
            (repeat.sum(), "repeat with another seed", "repeats with other seeds"),
        )
        if number
    ]
    return f"Tried: {'; besides '.join(filter(None, [*parts, listed(others)]))}."


def _some(names: list[str], thing: str) -> str:
    plural = thing.replace("policy", "policie") + "s" if len(names) != 1 else thing
    return f"{len(names)} {plural} ({', '.join(names)})"


def _when(trials: pd.DataFrame) -> str:
    started, ended = trials["started"].dropna(), trials["finished"].dropna()
    if started.empty:
        return ""
    first, last = started.min(), max([started.max(), *ended])
    same_day = first.date() == last.date()
    when = f"{first:%-d %B %Y, %H:%M} to {last:{'%H:%M' if same_day else '%-d %B %Y, %H:%M'}} UTC"
    devices = sorted({plain(device) for device in trials["device"].dropna()})
    hosts = {plain(host).rpartition(":")[0] or plain(host) for host in trials["host"].dropna()}
    where = f" on {listed(['the CPU' if device == 'cpu' else device for device in devices])}" if devices else ""
    return f"It ran from {when}{where}" + (f" of {count(len(hosts), 'machine')}." if hosts and devices else ".")


def _numbers(trials: pd.DataFrame, name: str) -> list[float]:
    if name not in trials:
        return []
    return [float(value) for value in pd.to_numeric(trials[name], errors="coerce").dropna()]


def _millions(value: float) -> str:
    return f"{value / 1e6:.3g} million" if value >= 1e5 else f"{value:,.0f}"
