"""Rules, formats and transforms that turn web crawls into image-text shards.

Imports no sibling package, and imports without `apache_beam` or `torch`:
Beam appears only in `transforms.py` files, loaded by those who run pipelines.
"""

__version__ = "0.1.0"
