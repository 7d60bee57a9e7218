import gzip
import io
import random
import re
import zlib

import pytest
from crawls import members, metadata, response
from fastwarc.warc import ArchiveIterator, WarcRecordType
from hypothesis import given, settings
from hypothesis import strategies as st

from wit_builder.pairs.archives import BROKEN_MEMBER, BROKEN_RECORD, CUT_OFF, NotAnArchive, read_records

KINDS = frozenset((b"response",))


def read(data: bytes, **limits):
    faults: list[tuple[str, int]] = []
    records = read_records(io.BytesIO(data), KINDS, lambda what, offset: faults.append((what, offset)), **limits)
    found = [(record.headers.get("WARC-Target-URI"), record.reader.read()) for record in (item.parse() for item in records)]
    return found, faults


def page(number: int) -> bytes:
    """A page that does not compress much, so that cuts fall into its member's middle."""
    noise = random.Random(number).randbytes(3000).hex()
    return response(f"http://a.example/{number}", f"<img src={number}.jpg alt=n{number}><!-- {noise} -->".encode())


RECORDS = [page(number) for number in range(12)]
STARTS = [sum(len(members([one])) for one in RECORDS[:number]) for number in range(13)]
WHOLE = read(members(RECORDS))[0]


def without(number: int) -> list:
    return WHOLE[:number] + WHOLE[number + 1 :]


def forms(records: list[bytes]) -> dict[str, bytes]:
    return {"members": members(records), "plain": b"".join(records), "one member": gzip.compress(b"".join(records))}


@pytest.mark.parametrize("form", ["members", "plain", "one member"])
def test_whole_files_give_every_record_that_fastwarc_gives(form):
    data = forms([*RECORDS, metadata("http://a.example/", "<img src=a alt=b>")])[form]
    theirs = ArchiveIterator(io.BytesIO(data), record_types=WarcRecordType.response, parse_http=False)
    assert read(data) == ([(record.headers["WARC-Target-URI"], record.reader.read()) for record in theirs], [])
    assert len(WHOLE) == 12


def test_offsets_are_those_of_the_members():
    records = read_records(io.BytesIO(members(RECORDS)), KINDS, pytest.fail)
    assert [record.offset for record in records] == STARTS[:12]


@pytest.mark.parametrize("cut", [STARTS[7] + 1, STARTS[7] + 11, STARTS[7] + 500, STARTS[8] - 60])
def test_a_file_cut_off_keeps_what_was_before(cut):
    assert read(members(RECORDS)[:cut]) == (WHOLE[:7], [(CUT_OFF, STARTS[7])])


def test_a_file_cut_off_after_the_last_byte_of_a_record_keeps_that_too():
    assert read(members(RECORDS)[: STARTS[8] - 3]) == (WHOLE[:8], [(CUT_OFF, STARTS[7])])


def test_cuts_between_members_cannot_be_seen():
    assert read(members(RECORDS)[: STARTS[7]]) == (WHOLE[:7], [])


def test_a_plain_file_cut_off():
    place = sum(map(len, RECORDS[:7]))
    assert read(b"".join(RECORDS)[: place + 400]) == (WHOLE[:7], [(CUT_OFF, place)])


def test_a_single_member_cut_off():
    found, faults = read(gzip.compress(b"".join(RECORDS))[:20_000])
    assert found == WHOLE[: len(found)] and len(found) > 4 and faults == [(CUT_OFF, 0)]


def test_a_damaged_member_costs_only_itself():
    data = bytearray(members(RECORDS))
    for place in (STARTS[3] + 900, STARTS[9] - 6):  # in the data of one, in the checksum of another
        data[place] ^= 0x55
    wanted = [one for number, one in enumerate(WHOLE) if number not in (3, 8)]
    assert read(bytes(data)) == (wanted, [(BROKEN_MEMBER, STARTS[3]), (BROKEN_MEMBER, STARTS[8])])


def test_the_first_member_may_be_the_damaged_one():
    data = bytearray(members(RECORDS))
    data[12:40] = bytes(28)
    assert read(bytes(data)) == (WHOLE[1:], [(BROKEN_MEMBER, 0)])


def test_a_member_that_ends_early_costs_only_itself():
    whole = members(RECORDS)
    data = whole[: STARTS[5] - 100] + whole[STARTS[5] :]
    assert read(data) == (without(4), [(BROKEN_MEMBER, STARTS[4])])


def test_strange_bytes_between_members():
    whole = members(RECORDS)
    assert read(whole[: STARTS[5]] + bytes(700) + whole[STARTS[5] :] + bytes(512)) == (WHOLE, [])
    assert read(whole[: STARTS[5]] + b"garbage" * 9 + whole[STARTS[5] :]) == (WHOLE, [(BROKEN_MEMBER, STARTS[5])])


@pytest.mark.parametrize("form", ["members", "plain", "one member"])
@pytest.mark.parametrize("length", [b"99999", b"10", b"-5", b"x", b"99999999999999999999999", b""])
def test_a_wrong_length_costs_only_its_record(form, length):
    records = list(RECORDS)
    records[6] = re.sub(rb"(?<=Content-Length: )\d+", length, records[6], count=1)
    found, faults = read(forms(records)[form])
    assert found == without(6)
    assert [what for what, _ in faults] == [BROKEN_RECORD]


def test_a_length_past_the_end_in_a_plain_file_is_found_out():
    records = list(RECORDS)
    records[6] = re.sub(rb"(?<=Content-Length: )\d+", b"999999999", records[6], count=1)
    assert read(b"".join(records), max_body=10_000) == (without(6), [(BROKEN_RECORD, sum(map(len, RECORDS[:6])))])


@pytest.mark.parametrize("form", ["members", "plain", "one member"])
def test_a_broken_header_costs_only_its_record(form):
    records = list(RECORDS)
    records[6] = b"XXXX" + records[6][4:]
    found, faults = read(forms(records)[form])
    assert found == without(6) and [what for what, _ in faults] == [BROKEN_RECORD]


def test_what_is_longer_than_wanted_is_cut_and_said_so():
    records = list(read_records(io.BytesIO(members(RECORDS)), KINDS, pytest.fail, max_body=1000))
    assert all(record.cut and len(record.body) == 1000 for record in records) and len(records) == 12


def test_a_bomb_is_given_up():
    bomb = zlib.compressobj(9, wbits=31)
    packed = bomb.compress(RECORDS[0][:20]) + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(100)) + bomb.flush()
    assert read(members(RECORDS[:2]) + packed + members(RECORDS[2:])) == (WHOLE, [(BROKEN_MEMBER, STARTS[2])])


NO_ARCHIVES = [b"", b"hello", b"<html>", b"\x1f\x8b\x08", gzip.compress(b"<html>", mtime=0), b"\0" * 9, b"PK\3\4"]


@pytest.mark.parametrize("data", NO_ARCHIVES)
def test_what_is_no_archive(data):
    if data == b"\x1f\x8b\x08":  # it may have been one
        assert read(data) == ([], [(CUT_OFF, 0)])
    else:
        with pytest.raises(NotAnArchive):
            read(data)


SMALL = [response(f"http://a.example/{number}", b"<img src=a alt=b>") for number in range(4)]
SMALL_WHOLE = read(members(SMALL))[0]
SMALL_STARTS = [sum(len(members([one])) for one in SMALL[:number]) for number in range(5)]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damage_anywhere_never_raises_and_never_invents(data):
    form = data.draw(st.sampled_from([members(SMALL), b"".join(SMALL), gzip.compress(b"".join(SMALL))]))
    start = data.draw(st.integers(0, len(form)))
    end = data.draw(st.integers(start, min(len(form), start + 60)))
    damaged = form[:start] + data.draw(st.one_of(st.binary(max_size=60), st.just(form[:50]))) + form[end:]
    try:
        found, faults = read(damaged)
    except NotAnArchive:
        return
    if damaged == form:
        assert (found, faults) == (SMALL_WHOLE, [])
    elif form == members(SMALL):
        assert faults or len(found) >= 3  # cuts between members cannot be seen
        assert [one for one in SMALL_WHOLE if one in found] == [one for one in found if one in SMALL_WHOLE]
        touched = sum(start < end_of and end > start_of for start_of, end_of in zip(SMALL_STARTS, SMALL_STARTS[1:]))
        if len(damaged) >= len(form):
            assert len([one for one in SMALL_WHOLE if one in found]) >= 4 - max(1, touched)


@settings(deadline=None)
@given(st.one_of(st.binary(), st.binary().map(b"WARC/1.0\r\n".__add__), st.text("WARC/1.0\r\n-Type:rspon 9", max_size=90).map(str.encode)))
def test_any_bytes_are_read(data):
    for form in (data, gzip.compress(data)):
        try:
            read(form)
        except NotAnArchive:
            pass


def test_the_real_archives_are_read_as_fastwarc_reads_them(samples):
    for name in ("archive-org.warc.gz", "whirlwind.warc.gz"):
        path = samples / "warc" / name
        theirs = ArchiveIterator(str(path), record_types=WarcRecordType.response, parse_http=False)
        wanted = [(record.headers["WARC-Target-URI"], record.reader.read()) for record in theirs]
        assert read(path.read_bytes()) == (wanted, [])
