from search.nearest import find_nearest, suggest_nearest


def test_nothing_is_suggested_if_nothing_is_close() -> None:
    assert find_nearest("xyzzy", ["trial.epochs", "search.trials"]) is None
    assert suggest_nearest("xyzzy", ["trial.epochs", "search.trials"]) == ""


def test_the_nearest_is_found_as_a_whole_or_by_its_last_part() -> None:
    known = ["trial.pruning.amount", "search.trials"]
    assert find_nearest("trial.pruning.amout", known) == "trial.pruning.amount"
    assert find_nearest("amount", known) == "trial.pruning.amount"
    assert suggest_nearest("search.trails", known) == "; did you mean 'search.trials'?"
