"""Which queries occur in which texts: every query whose tokens stand next to each other in the text."""

from wit_builder.match.matcher import QueryMatcher

__all__ = ["QueryMatcher"]
