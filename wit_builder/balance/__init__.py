"""Balancing: at most a fixed number of pairs for each query, so that no subject drowns the others."""
