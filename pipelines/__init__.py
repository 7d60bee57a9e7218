"""Commands that run a stage each: flags, input, one composite transform, output. See `python -m pipelines.NAME --help`."""

import logging
import sys

from wit_builder.errors import interrupt_quietly

# Beam warns of a missing BigQuery client at every import; nothing here speaks to BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())

if sys.argv[:1] == ["-m"]:  # as it is while `python -m pipelines.NAME` looks for NAME
    interrupt_quietly()
