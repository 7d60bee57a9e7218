"""How a pipeline's process ends."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipelines.__main__ import STAGES, usage

ROOT = Path(__file__).resolve().parents[2]

# As gRPC leaves it: a thread that is stopped while it holds a lock, which an object's end asks for.
HOLDING = """
    import atexit, threading, time
    from pipelines.running import run
    from wit_builder.errors import UserError
    from wit_builder.parallel import start_pool

    class Call:
        lock = threading.Lock()
        def __del__(self):
            with self.lock:
                pass

    def hold():
        with Call.lock:
            time.sleep(3600)

    def main(arguments):
        call = Call()
        call.itself = call  # freed by the collection at the interpreter's end
        threading.Thread(target=hold, daemon=True).start()
        atexit.register(print, "exit functions run")
        print("done")
        {end}

    run(main)
"""


@pytest.mark.parametrize(
    "end, code, said",
    [
        ("return None", 0, ""),
        ("raise UserError('no such flag')", 1, "error: no such flag\n"),
        ("raise KeyboardInterrupt", 130, "interrupted: run the same command again to go on\n"),
        ("raise SystemExit", 0, ""),
        ("start_pool(2, 'time'); raise UserError('no pairs')", 1, "error: no pairs\n"),
        ("return 1 / 0", 1, "ZeroDivisionError: division by zero\n"),
    ],
)
def test_a_lock_that_is_never_released_does_not_keep_the_process(end, code, said):
    script = textwrap.dedent(HOLDING).format(end=end)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (code, "done\nexit functions run\n")
    assert done.stderr.endswith(said) and bool(said) == bool(done.stderr)


@pytest.mark.parametrize("command", ["extract_pairs", "find_overlaps"])
def test_ctrl_c_while_beam_is_imported_ends_in_one_line(command, tmp_path):
    (tmp_path / "apache_beam.py").write_text("import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n")
    done = subprocess.run(
        [sys.executable, "-m", f"pipelines.{command}", "--help"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "interrupted: run the same command again to go on\n")


def test_every_stage_is_listed():
    paths = [path for path in (ROOT / "pipelines").glob("*.py") if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")]
    commands = {path.stem for path in paths} - {"__main__", "worker_boot"}
    assert commands == set(STAGES)
    assert all(f"\n  {name} " in usage() for name in STAGES)
