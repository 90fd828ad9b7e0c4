"""Says that work waits for a part of the cluster that other jobs are using."""

import logging
import time

log = logging.getLogger("alphaprune")

PATIENCE_SECONDS = 5.0


class WaitNotice:
    """Logs once that something has been waiting for a while, and once that it no longer does."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = ""

    def update(self, waits_for: str) -> None:
        """Takes note of what is waited for now; empty if nothing is."""
        if not waits_for:
            if self._told:
                log.info("no longer waiting for %s", self._told)
            self._since, self._told = None, ""
            return
        if self._since is None:
            self._since = time.monotonic()
        if not self._told and time.monotonic() - self._since >= PATIENCE_SECONDS:
            self._told = waits_for
            log.info("waiting for %s; other jobs are using the cluster", waits_for)
