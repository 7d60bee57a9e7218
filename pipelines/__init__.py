"""Commands that run a stage each: flags, input, one composite transform, output. See `python -m pipelines.NAME --help`."""

import logging

# Beam warns of a missing BigQuery client at every import; nothing here speaks to BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
