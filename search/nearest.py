"""The known name that a mistyped one was probably meant to be."""

from collections.abc import Sequence
from difflib import get_close_matches


def find_nearest(word: str, known: Sequence[str]) -> str | None:
    """The entry of `known` closest to `word`, as a whole or in its last part; None if none is close."""
    leaf, by_leaf = word.rpartition(".")[2], {path.rpartition(".")[2]: path for path in reversed(known)}
    if leaf in by_leaf and word not in known:
        return by_leaf[leaf]
    leaves = get_close_matches(leaf, by_leaf, n=1)
    return next(iter(get_close_matches(word, known, n=1)), by_leaf[leaves[0]] if leaves else None)


def suggest_nearest(word: str, known: Sequence[str]) -> str:
    """The end of an error message: `; did you mean 'NAME'?`, or nothing if no known name is close."""
    nearest = find_nearest(word, known)
    return f"; did you mean {nearest!r}?" if nearest else ""
