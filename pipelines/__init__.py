"""Commands that run a stage each: flags, input, one composite transform, output. See `python -m pipelines.NAME --help`."""
