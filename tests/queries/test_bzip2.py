import bz2
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from queries import bzip2
from wit_builder.errors import UserError


def data_of(seed: int, size: int) -> bytes:
    return bytes(random.Random(seed).choices(b"abcdefgh \n", k=size))


def read(file: bytes, cuts: list[int]) -> list[bytes]:
    """What each range owns."""
    edges = [0, *sorted(cuts), len(file)]
    return [
        b"".join(data for data, own in bzip2.read_blocks(io.BytesIO(file), start, end, "x") if own) for start, end in zip(edges, edges[1:])
    ]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 400_000), min_size=1, max_size=3), st.lists(st.integers(0, 200_000), max_size=4))
def test_every_block_is_owned_by_one_range(seed, sizes, cuts):
    streams = [data_of(seed + number, size) for number, size in enumerate(sizes)]
    file = b"".join(bz2.compress(stream, 1 + (seed + number) % 9) for number, stream in enumerate(streams))
    assert b"".join(read(file, [cut % len(file) for cut in cuts])) == b"".join(streams)


def test_reader_goes_on_behind_its_range():
    file = bz2.compress(data_of(0, 350_000), 1)
    blocks = list(bzip2.read_blocks(io.BytesIO(file), 0, 10, "x"))
    assert [own for _, own in blocks] == [True, False, False, False]
    assert b"".join(data for data, _ in blocks) == bz2.decompress(file)


def test_magic_number_inside_a_block_does_not_end_it(monkeypatch):
    file = bz2.compress(data_of(0, 250_000), 2)
    real = bzip2.find_magics
    monkeypatch.setattr(bzip2, "_READ", 64)
    monkeypatch.setattr(bzip2, "find_magics", lambda data: sorted([*real(data), (100, True)]) if len(data) > 60 else real(data))
    assert b"".join(data for data, _ in bzip2.read_blocks(io.BytesIO(file), 0, len(file), "x")) == bz2.decompress(file)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.99])
def test_damage_and_cut_off_files_are_told(place):
    file = bytearray(bz2.compress(data_of(0, 500_000), 3))
    at = int(len(file) * place)
    assert not bzip2.ends_whole(bytes(file[:at])[-64:]) and bzip2.ends_whole(bytes(file)[-64:])
    with pytest.raises(UserError, match=r"^x: the bz2 file (ends too early|is damaged)"):
        list(bzip2.read_blocks(io.BytesIO(file[:at]), 0, at, "x"))
    file[int(len(file) * 0.4)] ^= 0x55
    with pytest.raises(UserError, match="^x: the bz2 file is damaged"):
        list(bzip2.read_blocks(io.BytesIO(file), 0, len(file), "x"))
