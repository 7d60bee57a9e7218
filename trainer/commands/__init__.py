"""Command lines of `trainer`: flags in, one function of the package called."""
