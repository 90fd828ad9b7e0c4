"""`python -m search` is `alphaprune`."""

from search.cli import main

main()
