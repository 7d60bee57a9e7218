import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from trainer import cli

ROOT = Path(__file__).resolve().parents[2]


def trainer(*arguments):
    return subprocess.run([sys.executable, "-m", "trainer", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_help_names_every_command_and_imports_nothing_heavy():
    code = "import sys; from trainer import cli; cli.run(['--help']); assert not {'torch', 'scipy', 'pyarrow'} & set(sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(f"  {name} " in shown for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as exited:
        importlib.import_module(cli.COMMANDS[name][0]).main(["--help"])
    assert exited.value.code == 0
    assert f"example:\n  trainer {name} " in capsys.readouterr().out


def test_unknown_command_and_an_error_of_the_user_end_in_one_line(tmp_path):
    assert trainer("zero-shots").returncode == 2
    done = trainer("zero-shot", "--checkpoint", "none.safetensors", "--eval", "a=nowhere", "--output", str(tmp_path / "out"))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "no such folder" in done.stderr
    assert "Traceback" not in done.stderr
