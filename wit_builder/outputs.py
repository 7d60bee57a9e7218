"""Output folders: refused where they hold something else, whole exactly when `manifest.json` is there.

`manifest.json` holds what the output depends on and what came of it, and is the same for the same inputs, parameters
and seed. `run.json` holds what differs from run to run: times, runner, workers, absolute paths.
"""

from __future__ import annotations

import datetime
import hashlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from wit_builder import __version__, files
from wit_builder.errors import UserError

MANIFEST = "manifest.json"
RUN = "run.json"
WORK = ".work"  # spill files of an unfinished run


def sha256_of(path: str) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with files.open_read(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe_inputs(paths: Sequence[str], root: str | None = None) -> list[dict[str, Any]]:
    """Name below the root, and size in bytes, of each input: what a manifest says of large files."""
    return [
        {"name": files.relative_name(path, root) if root else path.rstrip("/").rsplit("/", 1)[-1], "bytes": files.size(path)}
        for path in paths
    ]


class Output:
    """One stage's output folder.

    Attributes:
      path: the folder.
      stage: name of the stage, as in `python -m pipelines.STAGE`.
      parameters: everything the bytes of the output depend on, beside the inputs; JSON values only.
      inputs: what `describe_inputs` says, or hashes; JSON values only.
    """

    def __init__(self, path: str, stage: str, parameters: Mapping[str, Any], inputs: Any) -> None:
        self.path = path.rstrip("/") or "/"
        self.stage = stage
        self.parameters = dict(parameters)
        self.inputs = inputs

    def file(self, *names: str) -> str:
        """Path of a file in the folder."""
        return files.join(self.path, *names)

    @property
    def work(self) -> str:
        """Folder for spill files; gone when the output is whole."""
        return self.file(WORK)

    def identity(self) -> dict[str, Any]:
        """What must be equal for two runs to give the same bytes."""
        return {"stage": self.stage, "version": __version__, "parameters": self.parameters, "inputs": self.inputs}

    def begin(self, run: Mapping[str, Any] | None = None, *, may_grow: bool = False) -> bool:
        """Claim the folder. True: there is work to do. False: it is whole already, made from the same.

        `run` goes into run.json beside the identity, the command line and the time. With `may_grow`, a folder made
        from other inputs is taken too: the stage adds what is missing.

        Raises:
          UserError: where the folder holds another run's output or files that are not ours. Nothing is changed then.
        """
        identity = self.identity()
        for name in (MANIFEST, RUN):
            if files.exists(self.file(name)):
                found = files.read_object(self.file(name))
                different = [key for key in identity if found.get(key) != identity[key]]
                if may_grow and different == ["inputs"]:
                    break
                if different and name == RUN and files.below(self.path) == [self.file(RUN)]:
                    break  # that run ended before it made anything
                if different:
                    raise UserError(
                        f"this folder holds another run's output (differs in {_differences(found, identity)})",
                        where=self.path,
                        fix="give another --output, or delete the folder",
                    )
                if name == MANIFEST:
                    return False
                break
        else:
            if files.is_folder(self.path) and files.match(self.file("*")):
                raise UserError(
                    "this folder is not empty and holds no output of this stage",
                    where=self.path,
                    fix="give another --output, or empty the folder",
                )
        files.make_folder(self.path)
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        files.write_json(self.file(RUN), {**identity, **(run or {}), "started": started, "command": sys.argv})
        return True

    def finish(self, counts: Mapping[str, int], drops: Mapping[str, int], **more: Any) -> dict[str, Any]:
        """Remove spill files and what killed attempts left, then write the manifest, last. Returns what it holds."""
        files.remove(self.work)
        for path in files.match(self.file("*.tmp-*")):
            files.remove(path)
        manifest = {**self.identity(), "counts": dict(counts), "drops": dict(drops), **more}
        files.write_json(self.file(MANIFEST), manifest)
        return manifest


def _differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    parts = []
    for key, value in wanted.items():
        other = found.get(key)
        if other == value:
            continue
        if isinstance(value, dict) and isinstance(other, dict):
            names = sorted(name for name in {*value, *other} if value.get(name) != other.get(name))
            parts += [f"{name}: {other.get(name)!r} there, {value.get(name)!r} asked" for name in names]
        else:
            parts.append(key if key == "inputs" else f"{key}: {other!r} there, {value!r} asked")
    text = "; ".join(parts)
    return text if len(text) < 300 else text[:297] + "…"
