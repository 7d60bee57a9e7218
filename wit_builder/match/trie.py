"""The query list as two flat hash tables: a vocabulary of tokens, and the edges of a trie over token numbers.

Both are open-addressing tables of 64-bit words, small enough to load in a moment and to share between threads.
A token of up to eight bytes is its own key; a longer one has a hashed key and is compared byte by byte when found.
Edges are keyed by (node, token number), which is exact. So no hash collision, accidental or made, gives a false match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wit_builder.match import kernel


@dataclass(frozen=True)
class Trie:
    """Flat arrays that the kernel reads.

    Attributes:
      vocabulary: uint64 [slots, 4]: key (0 = free); token number | 1 + its query << 32; offset | length << 32 in
        `letters`; a 64-bit Bloom filter of the tokens that may follow.
      edges: uint64 [slots, 2]: node << 32 | token number (all ones = free); child | has children << 31 | 1 + query << 32.
      letters: uint8 [n]: the tokens in UTF-8, one after another.
      same: int32 [queries]: the next query with the same tokens, or -1.
    """

    vocabulary: np.ndarray
    edges: np.ndarray
    letters: np.ndarray
    same: np.ndarray


def _slots(entries: int) -> int:
    """A power of two that leaves at least half of the table free."""
    return 1 << max(4, (2 * entries - 1).bit_length())


def build(token_lists: Sequence[Sequence[str]]) -> Trie:
    """The trie of these queries, each given by its tokens; a query without tokens matches nothing."""
    numbers: dict[str, int] = {}
    flat = np.array([numbers.setdefault(token, len(numbers)) for tokens in token_lists for token in tokens], np.int64)
    lengths = np.array([len(tokens) for tokens in token_lists], np.int64)
    starts = np.cumsum(lengths) - lengths

    # Level by level: node of every query's first d tokens. A node of one token has that token's number.
    alive = np.flatnonzero(lengths > 0)
    nodes = flat[starts[alive]]
    end = np.full(len(token_lists), -1, np.int64)
    parents, children, next_node, depth = [], [], len(numbers), 1
    while len(alive):
        ends = lengths[alive] == depth
        end[alive[ends]] = nodes[ends]
        alive, nodes = alive[~ends], nodes[~ends]
        keys, inverse = np.unique(nodes << 32 | flat[starts[alive] + depth], return_inverse=True)
        parents.append(keys)
        children.append(next_node + np.arange(len(keys)))
        nodes = next_node + inverse
        next_node += len(keys)
        depth += 1

    keys = np.concatenate(parents) if parents else np.empty(0, np.int64)
    child = np.concatenate(children) if children else np.empty(0, np.int64)
    has_children = np.zeros(next_node, bool)
    has_children[keys >> 32] = True
    first, same = _queries_of_nodes(end, next_node)

    edge_rows = np.empty((len(keys), 2), np.uint64)
    edge_rows[:, 0] = keys
    edge_rows[:, 1] = child | has_children[child].astype(np.int64) << 31 | (first[child] + 1) << 32

    encoded = [token.encode() for token in numbers]
    sizes = np.array([len(token) for token in encoded], np.int64)
    letters = np.frombuffer(b"".join(encoded), np.uint8)
    follows = np.zeros(len(numbers), np.uint64)
    from_root = keys[keys >> 32 < len(numbers)]
    np.bitwise_or.at(follows, from_root >> 32, kernel.follow_bits(from_root & 0xFFFFFFFF))
    offsets = np.cumsum(sizes) - sizes
    token_rows = np.empty((len(numbers), 4), np.uint64)
    token_rows[:, 0] = kernel.token_keys(letters, offsets, sizes)
    token_rows[:, 1] = np.arange(len(numbers)) | (first[: len(numbers)] + 1) << 32
    token_rows[:, 2] = offsets | sizes << 32
    token_rows[:, 3] = follows

    vocabulary = np.zeros((_slots(len(numbers)), 4), np.uint64)
    kernel.fill(vocabulary, token_rows, np.uint64(0))
    edges = np.full((_slots(len(keys)), 2), kernel.NO_EDGE, np.uint64)
    kernel.fill(edges, edge_rows, kernel.NO_EDGE)
    return Trie(vocabulary, edges, letters, same)


def _queries_of_nodes(end: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """First query of each node or -1, int64 [nodes]; next query with the same node or -1, int32 [queries]."""
    first = np.full(nodes, -1, np.int64)
    same = np.full(len(end), -1, np.int32)
    order = np.argsort(end, kind="stable")
    order = order[end[order] >= 0]
    ending = end[order]
    repeats = ending[1:] == ending[:-1]
    same[order[:-1][repeats]] = order[1:][repeats]
    heads = np.concatenate(([True], ~repeats))[: len(order)]
    first[ending[heads]] = order[heads]
    return first, same
