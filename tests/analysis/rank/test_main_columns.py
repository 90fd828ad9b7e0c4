"""Which columns of a ranking are shown; it has all of them."""

import pandas as pd
import pytest

from analysis import Experiment
from analysis.columns import COLUMNS
from analysis.rank.main_columns import MAIN_COLUMNS


def test_a_ranking_shows_what_matters_and_has_everything(full: Experiment) -> None:
    ranked, whole = full.rank(), full.rank(columns="all")
    pd.testing.assert_frame_equal(pd.DataFrame(ranked), whole)
    shown = repr(ranked)
    for name in ("rank", "pruned_val_accuracy", "mac_sparsity", "alpha.family"):
        assert name in shown
    assert "optimizer.momentum" not in shown
    assert "more columns: columns='all' shows them" in shown
    assert len(shown.splitlines()[0]) < 250
    html = ranked._repr_html_()
    assert "<table" in html
    assert "optimizer.momentum" not in html


def test_it_stays_so_for_its_rows_but_not_for_chosen_columns(full: Experiment) -> None:
    top = full.rank().head(3)
    assert "optimizer.momentum" not in repr(top)
    assert len(repr(top).splitlines()) == 6
    assert "optimizer.momentum" in repr(top[["rank", "optimizer.momentum"]])


def test_what_it_is_ranked_by_is_shown(full: Experiment) -> None:
    assert "seconds" not in repr(full.rank(top=3))
    assert "seconds" in repr(full.rank(by="seconds", top=3))
    assert "seconds" in repr(full.rank(by="-seconds", top=3))
    assert "lr.peak" in repr(full.rank(weights={"lr.peak": 1.0}, top=3))


def test_columns_can_be_chosen(full: Experiment) -> None:
    assert full.rank(columns=["macs", "rank"]).columns.tolist() == ["macs", "rank"]
    with pytest.raises(ValueError, match=r"there is no column 'mac'; did you mean 'macs'\?"):
        full.rank(columns=["mac"])


def test_the_best_shows_the_same(full: Experiment) -> None:
    best, whole = full.best(), full.best(columns="all")
    assert best.name == whole.name == full.rank().index[0]
    assert best["optimizer.momentum"] == whole["optimizer.momentum"]
    assert "optimizer.momentum" not in repr(best)
    assert "optimizer.momentum" in whole.to_string()
    assert "<table" in best._repr_html_()  # type: ignore[operator]


def test_the_main_columns_are_columns() -> None:
    assert {name for name in MAIN_COLUMNS if name != "pruning.amount"} <= set(COLUMNS)


def test_the_data_dictionary_has_every_column(full: Experiment) -> None:
    found = full.columns
    assert found.index.is_unique
    for frame in (full.trials.reset_index(), full.epochs.reset_index(), full.rank(columns="all").reset_index()):
        assert set(frame.columns) <= set(found.index)
    assert found.loc["number", "frames"] == "trials, epochs, ranking"
    assert found.loc["batch256_latency_ms", ["unit", "better", "of_device"]].tolist() == ["ms", "low", True]
    assert found.loc["pruning.amount", ["kind", "help"]].tolist() == [
        "setting",
        "the setting trial.pruning.amount: see `alphaprune settings`",
    ]
    assert (found["help"] != "").all()
    assert found[found.duplicated(["label", "help"])].query("label != ''").empty


def test_an_unknown_column_of_many_is_answered_by_the_nearest(full: Experiment) -> None:
    with pytest.raises(ValueError, match="there is no column 'foo'; the nearest are ") as raised:
        full.rank(by="foo")
    assert len(str(raised.value)) < 160
    with pytest.raises(ValueError, match=r"did you mean 'alpha.family'\?"):
        full.rank(where="family == 'cosine'")
