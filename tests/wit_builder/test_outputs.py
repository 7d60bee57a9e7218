import errno
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wit_builder.errors import UserError, exit_with, user_message
from wit_builder.outputs import Output


def output(folder, **parameters):
    return Output(str(folder), "stage", parameters, [{"name": "in.xml", "bytes": 3}])


def test_whole_output_is_left_alone_and_others_are_refused(tmp_path):
    folder = tmp_path / "out"
    first = output(folder, cap=3)
    assert first.begin()
    assert output(folder, cap=3).begin(), "an unfinished run may go on"
    first.finish({"rows": 1}, {"empty": 2})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert not output(folder, cap=3).begin()
    with pytest.raises(UserError, match=r"cap: 3 there, 4 asked.*another --output"):
        output(folder, cap=4).begin()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_folder_with_strange_files_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        output(tmp_path).begin()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_manifest_says_nothing_of_the_machine_or_the_time(tmp_path):
    manifests = []
    for name in "ab":
        made = output(tmp_path / name, cap=3)
        made.begin({"workers": name})
        made.finish({"rows": 1}, {})
        manifests.append((tmp_path / name / "manifest.json").read_bytes())
    assert manifests[0] == manifests[1]
    assert json.loads(manifests[0])["counts"] == {"rows": 1}


def test_user_message_is_found_in_a_worker_s_traceback():
    error = RuntimeError("Traceback …\nwit_builder.errors.UserError: a.warc: broken (fix it) [while running 'Read-ptransform-3']\n")
    assert user_message(error) == "a.warc: broken (fix it)"
    assert user_message(ValueError("a bug")) is None


def test_an_interrupt_inside_a_step_of_beam_is_an_interrupt(capsys):
    def main():
        raise RuntimeError("Traceback …\nKeyboardInterrupt [while running 'Match/Run on local processes']\n")

    with pytest.raises(SystemExit) as ended:
        exit_with(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted: run the same command again to go on\n"


@pytest.mark.parametrize("kind", ["a file", "below a file", "below /proc"])
def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path, kind):
    (tmp_path / "thesis.txt").write_text("mine")
    folder = {"a file": tmp_path / "thesis.txt", "below a file": tmp_path / "thesis.txt" / "out", "below /proc": "/proc/none/out"}[kind]
    with pytest.raises(UserError, match=f"^{folder}: this folder cannot be made: .*another path"):
        output(folder).begin()
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("manifest", ["[1]", "null", "[" * 100_000, "{", "\xff"])
def test_a_manifest_that_is_none_is_one_clear_error(tmp_path, manifest):
    (tmp_path / "manifest.json").write_text(manifest, encoding="latin-1")
    with pytest.raises(UserError, match="manifest.json: not (a JSON object|valid JSON)"):
        output(tmp_path).begin()


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS, errno.EEXIST, errno.EACCES])
def test_what_the_system_says_of_a_path_is_told(number):
    assert user_message(OSError(number, "Said So", "given.txt")) == "given.txt: said so (check the path)"


def test_optional_parts_of_the_install_are_named_when_missing():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    optional = [name for part in ("images", "detector", "trainer") for name in project["optional-dependencies"][part]]
    imported = {"pillow": "PIL", "faiss-cpu": "faiss"}
    names = {re.match(r"[\w-]+", name)[0] for name in optional} - {"webimagetext"}
    for name in names:
        missing = ModuleNotFoundError(f"No module named {name!r}", name=f"{imported.get(name, name)}.part")
        assert "is not installed (in the project's folder" in user_message(missing)
    assert user_message(ModuleNotFoundError("No module named 'trainer.lost'", name="trainer.lost")) is None


@pytest.mark.parametrize("main", ["lambda: print('x' * 100_000)", "lambda: print('short')", "lambda: sys.exit(print('short'))"])
def test_output_that_nobody_reads_on_is_no_error(main):
    """As `| head` leaves it."""
    script = f"import sys; from wit_builder.errors import exit_with; sys.stdin.read(); exit_with({main})"
    command = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    command.stdout.close()
    command.stdin.close()
    assert (command.wait(60), command.stderr.read()) == (141, "")
    command.stderr.close()


def test_a_pipe_that_breaks_elsewhere_is_a_bug():
    with pytest.raises(BrokenPipeError):
        exit_with(lambda: (_ for _ in ()).throw(BrokenPipeError(32, "Broken pipe")))
