"""`python -m alphaprune` is the command `alphaprune`."""

import os
import sys
from pathlib import Path

# Python has put the current folder first, where a search.py of the user's would hide our package.
if sys.path[0] == os.getcwd() != str(Path(__file__).parents[1]):  # noqa: PTH109  as Python wrote it
    del sys.path[0]

from search.cli import main

main()
