"""`python -m spavl` is the same as `spavl`."""

from spavl.cli import main

main()
