"""`--on-end CMD`: a shell command that is run when a search has ended, such as one that sends a message."""

import logging
import os
import subprocess
import sys

from search.observers.observer import ExperimentEnd, SearchObserver

log = logging.getLogger("alphaprune")


class EndCommand(SearchObserver):
    """Runs a command with `sh` when the search has ended, and waits for it.

    The command's environment has ALPHAPRUNE_EXPERIMENT (the folder's absolute path), ALPHAPRUNE_STATE (finished,
    interrupted or failed) and ALPHAPRUNE_SUMMARY (one line). Its output goes to stderr, so that stdout has data only.
    """

    def __init__(self, command: str) -> None:
        self._command = command

    def experiment_ended(self, end: ExperimentEnd) -> None:
        told = {
            "ALPHAPRUNE_EXPERIMENT": str(end.folder.path.absolute()),
            "ALPHAPRUNE_STATE": end.state,
            "ALPHAPRUNE_SUMMARY": end.summary,
        }
        try:
            output = sys.__stderr__ if sys.__stderr__ is not None else subprocess.DEVNULL
            ended = subprocess.run(
                self._command, shell=True, env=os.environ | told, stdin=subprocess.DEVNULL, stdout=output, check=False
            )
        except (OSError, ValueError) as error:
            log.warning("--on-end: the command could not be run: %s", error)
            return
        if ended.returncode != 0:
            log.warning("--on-end: the command ended with exit code %d", ended.returncode)
