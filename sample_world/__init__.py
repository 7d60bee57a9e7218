"""A small made world for the demo and the tests: a wiki, a dictionary, a web site of drawn pictures, evaluation sets."""
