"""A small made world for the demo and the tests: a wiki, a dictionary, a web site of drawn pictures, evaluation sets."""

import sys

from wit_builder.errors import interrupt_quietly

if sys.argv[:1] == ["-m"]:  # as it is while `python -m sample_world` looks for its main module
    interrupt_quietly()
