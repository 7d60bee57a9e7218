"""Runs a pipeline whose tasks meet a fault, from outside the product's code: `python faulty.py KIND MARKER PIPELINE FLAGS…`.

`twice`: every task is done by two threads of the worker at once, and both must say the same. `killed`: the worker that first
writes into the output folder itself dies by SIGKILL when its file is written and not yet renamed; MARKER is made then.
The DoFns stand in the main module, so that they travel to the workers by value.
"""

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from wit_builder import transforms


class Twice(transforms._RunHere):
    def process(self, task):
        with ThreadPoolExecutor(2) as threads:
            one, other = threads.map(lambda _: self.work(self.loaded.value, task), range(2))
        assert one == other, (one, other)
        yield one


class Killed(transforms._RunHere):
    def __init__(self, work):
        super().__init__(work)
        self.marker = sys.argv[2]

    def process(self, task):
        from wit_builder import files

        real = files.replace

        def replace(source, target):
            if "/.work/" not in target:
                try:
                    os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    pass
                else:
                    os.kill(os.getpid(), signal.SIGKILL)
            real(source, target)

        files.replace = replace
        try:
            yield self.work(self.loaded.value, task)
        finally:
            files.replace = real


if __name__ == "__main__":
    transforms._RunHere = {"twice": Twice, "killed": Killed}[sys.argv[1]]
    from wit_builder.errors import exit_with

    pipeline = __import__(f"pipelines.{sys.argv[3]}", fromlist=["main"])
    exit_with(lambda: pipeline.main(sys.argv[4:]))
