import json
import subprocess
import sys
from pathlib import Path

from wit_builder import tables

ROOT = Path(__file__).resolve().parents[2]


def extract(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipelines.extract_pairs", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_real_archives_give_the_pairs_counted_by_another_parser(samples, tmp_path):
    done = extract("--input", samples / "warc" / "*.warc.gz", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["counts"]["pages"] == 141
    assert manifest["counts"]["pairs_found"] == 673
    rows = tables.read_table(str(tables.find(str(tmp_path / "out"), "pairs")[0])).to_pylist()
    assert len(rows) == manifest["counts"]["pairs"] == len({row["uid"] for row in rows})


def test_missing_file_is_told_in_one_line(tmp_path):
    done = extract("--input", tmp_path / "no.warc.gz", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path}/no.warc.gz: no file there")
    assert not (tmp_path / "out").exists()
