"""`python -m alphaprune` is the command `alphaprune`."""

from search.cli import main

main()
