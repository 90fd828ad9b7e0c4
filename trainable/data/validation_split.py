"""A validation split that a folder holds beside its training and its test images, and that is not used."""

import logging
import re
from pathlib import Path

log = logging.getLogger("alphaprune")

_RULE = "validation images are held out from train (data.validation_fraction)"
_NAME = re.compile(r"(val|valid|validation)(-.*)?(\.parquet)?")


def report_unused(place: Path) -> None:
    """Says that such a split in the folder `place` is not used, if there is one."""
    if names := _list_names(place):
        log.info("%s does not use %s: %s", place, ", ".join(names), _RULE)


def suggest_use(place: Path) -> str:
    """What to do with such a split in a folder without test images; nothing if there is none."""
    names = _list_names(place)
    if not names:
        return ""
    which = f"{names[0]} if it is" if len(names) == 1 else f"{', '.join(names[:2])} … if they are"
    return f"; rename {which} to be the test split: {_RULE}"


def _list_names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if _NAME.fullmatch(path.name))
