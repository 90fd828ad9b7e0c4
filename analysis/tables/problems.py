"""What is wrong with the files of an experiment's trials, in the words that a person gets to read."""


class Problems:
    """Lines that each begin with the name of a file and belong to a trial.

    may_pass: whether a file could not be read, which says more about today's storage than about the file.
    """

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []
        self.may_pass = False

    def add(self, number: int, line: str, cause: BaseException | None = None) -> None:
        """Adds a line about trial `number`; cause: the error, if there was one."""
        self._lines.append((number, line))
        self.may_pass |= isinstance(cause, OSError)

    def lines(self) -> list[str]:
        """All lines, in the order of the trials' numbers."""
        return [line for _, line in sorted(self._lines, key=lambda numbered: numbered[0])]
