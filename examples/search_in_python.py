"""A small search from Python, with a callback of your own. Two minutes on two CPU cores.

python examples/search_in_python.py
"""

import tempfile

import alphaprune


class Announcer(alphaprune.SearchObserver):
    """Says how the search ended; a mail or a message to a chat would be sent here."""

    def experiment_ended(self, end: alphaprune.ExperimentEnd) -> None:
        print(end.summary)


def main(storage: str) -> alphaprune.Experiment:
    return alphaprune.run(
        "quickstart",
        trials=2,
        local=True,
        storage=storage,
        callbacks=[Announcer()],
        **{"dense.epochs": 2, "trial.epochs": 3, "controls.kinds": ["one_shot"]},
        **{"confirm.top": 0, "results.measure": False},
    )


if __name__ == "__main__":
    experiment = main(tempfile.mkdtemp(prefix="alphaprune-"))
    print(experiment.rank())
    print(experiment.trial(int(experiment.rank().index[0])).rows)
