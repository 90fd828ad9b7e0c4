"""How far the answer may be trusted: over how many seeds, on how many images, chosen among how many."""

from collections.abc import Sequence

import pandas as pd

from analysis.labels import count
from analysis.rank.comparison import Comparison, candidates, with_alpha
from analysis.report.phrases import listed
from records.experiment import DataRecord

_INTERVAL = "± is the 95 % interval"


def trust_sentences(
    trials: pd.DataFrame, ranked: pd.DataFrame, compared: Sequence[Comparison], data: DataRecord
) -> str:
    """What ± is, what it leaves out, and that the best was chosen.

    Args:
        trials: a row a trial. ranked: of analysis.rank.ranking.rank.
        compared: what the answer rests on.
        data: of experiment.json.
    """
    chosen_from = candidates(trials)
    validation = data.validation_images
    on_images = count(validation, "validation image") if validation >= 1 else "validation images"
    parts = [*_intervals(compared)]
    if not compared and ranked.empty:
        parts.append("There is nothing yet that could be trusted or doubted.")
    elif not compared and chosen_from > 1:
        parts.append(
            f"The best trial with alpha is the best of {chosen_from:,} on {on_images}, so it looks better than it is."
        )
    elif not compared:
        parts.append(f"It is the accuracy of one run on {on_images}.")
    else:
        parts += _choice(ranked, compared, chosen_from, on_images)
    running = int((trials["state"] == "running").sum())
    if running:
        parts.append(
            f"{count(running, 'trial')} {'has' if running == 1 else 'have'} not ended, so all this may change."
        )
    return " ".join(parts)


def _intervals(compared: Sequence[Comparison]) -> list[str]:
    bases = {one.basis for one in compared}
    parts = []
    if "seeds" in bases:
        parts.append(f"{_INTERVAL} of the difference from the spread over seeds (Welch's t).")
    if "images" in bases:
        sizes = listed(sorted({f"{one.images:,} {one.on} images" for one in compared if one.basis == "images"}))
        where = f"Where there are too few repeats, {_INTERVAL}" if "seeds" in bases else _INTERVAL
        parts.append(
            f"{where} of the difference that {sizes} allow (binomial); what differs from seed to seed is not in it, so "
            "the true uncertainty is larger."
        )
    return parts


def _choice(ranked: pd.DataFrame, compared: Sequence[Comparison], chosen_from: int, on_images: str) -> list[str]:
    """What choosing the best does to the look of it."""
    parts = []
    confirmed = int((with_alpha(ranked)["seeds"] >= 2).sum())
    if any(one.basis == "seeds" for one in compared):
        text = "What was repeated over seeds is told by its repeats alone, so having been chosen for a lucky run does "
        text += "not flatter it"
        again = f"; but the best of {confirmed} such trials is a choice again, which flatters it a little."
        parts.append(text + (again if confirmed > 1 else "."))
    single = [one for one in compared if one.basis != "seeds"]
    if single and chosen_from > 1:
        flattered = (
            "part of its lead may be luck, though the test images had no say in the choice"
            if all(one.on == "test" for one in single)
            else "it looks better than it is as long as it is not confirmed"
        )
        parts.append(
            f"A trial with alpha was chosen as the best of up to {chosen_from:,} on {on_images}, so {flattered}; "
            "`alphaprune confirm` repeats the best and the controls over seeds."
        )
    elif single:
        parts.append("`alphaprune confirm` repeats trials and controls over seeds.")
    return parts
