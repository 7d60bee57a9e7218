"""`python -m dedup train | report`: see `dedup.cli`."""

from dedup.cli import main
from wit_builder.errors import exit_with

if __name__ == "__main__":
    exit_with(main)
