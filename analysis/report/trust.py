"""How far to trust the answer: over how many seeds, on how many images, picked from how many trials."""

from collections.abc import Sequence

import pandas as pd

from analysis.rank.comparison import Comparison, count_candidates, with_alpha
from analysis.report.fade_verdict import FadeFinding
from analysis.text import format_count, join_words
from records.experiment import DataRecord

_INTERVAL = "± is the 95% interval of the difference"


def trust_sentences(
    trials: pd.DataFrame, ranked: pd.DataFrame, compared: Sequence[Comparison], data: DataRecord
) -> str:
    """What ± is, what it leaves out, and that the best was picked.

    Args:
        trials: one row per trial. ranked: of analysis.rank.ranking.rank.
        compared: what the answer rests on.
        data: of experiment.json.
    """
    candidates = count_candidates(trials)
    validation = data.validation_images
    images = format_count(validation, "validation image") if validation else "the validation images"
    parts = _explain_intervals(compared)
    if compared:
        parts += _explain_choice(ranked, compared, candidates, images)
    elif ranked["pruned_val_accuracy"].isna().all():
        parts.append("There are no results to judge yet.")
    elif candidates > 1:
        parts.append(f"The best trial with alpha was picked from {candidates:,} by {images},")
        parts.append("so it looks better than it is.")
    else:
        parts.append(f"This is the accuracy of a single run on {images}.")
    running = int((trials["state"] == "running").sum())
    if running:
        parts.append(f"{format_count(running, 'trial', 'has', 'have')} not finished, so all of this may still change.")
    return " ".join(parts)


def trust_pairs(fades: Sequence[FadeFinding]) -> str:
    """What ± of a paired difference is, and what choosing the trial does to it."""
    of_trials = [one for fade in fades for one in fade.by_budget.values()]
    parts = ["A trial and its twins share seeds, channels and settings;"]
    parts.append("they differ in the fade and, at equal compute, in the number of epochs.")
    if any(one.pairs > 1 for one in of_trials):
        parts.append("± is the 95% interval of the mean difference over the seeds (Student's t).")
    parts.append(
        "Each trial was chosen by its own run, which is not among the pairs, so the choice does not flatter it."
    )
    return " ".join(parts)


def _explain_intervals(compared: Sequence[Comparison]) -> list[str]:
    bases = {one.basis for one in compared}
    parts = []
    if "seeds" in bases:
        parts.append(f"{_INTERVAL}, from the spread over seeds (Welch's t).")
    if "images" in bases:
        sizes = join_words(sorted({f"{one.images:,} {one.on} images" for one in compared if one.basis == "images"}))
        where = f"Where there are too few repeats, {_INTERVAL}" if "seeds" in bases else _INTERVAL
        parts.append(f"{where} that {sizes} allow (binomial);")
        parts.append("it leaves out what varies from seed to seed, so the true uncertainty is larger.")
    return parts


def _explain_choice(ranked: pd.DataFrame, compared: Sequence[Comparison], candidates: int, images: str) -> list[str]:
    """How picking the best biases the result."""
    parts = []
    confirmed = int((with_alpha(ranked)["seeds"] >= 2).sum())
    if any(one.basis == "seeds" for one in compared):
        text = "For trials repeated over seeds only the repeats count, so a lucky first run does not help them"
        again = f"; picking the best of {confirmed} still biases the result slightly upwards."
        parts.append(text + (again if confirmed > 1 else "."))
    single = [one for one in compared if one.basis != "seeds"]
    if single and candidates > 1:
        bias = "it looks better than it is until repeats confirm it"
        if all(one.on == "test" for one in single):
            bias = "part of its lead may be luck, although the test images played no part in the choice"
        parts.append(f"The best trial with alpha was picked from up to {candidates:,} by {images}, so {bias}.")
    return parts
