"""What is searched: tars of shards or any webdataset, and folders of pictures or frames, cut into parts that are embedded once.

A part is a tar, named by the SHA-256 of its bytes, or at most 1,000 pictures of one folder, named by their names, sizes and times of
change. So what is added later is embedded alone, and a tar that was moved is known again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from trainer.tars import find_tars
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalset_tars import IMAGE_SUFFIXES, MAX_IMAGE_BYTES, Example, Skipped, read_tar, safe_name
from wit_builder.outputs import sha256_of
from wit_builder.progress import progress

PICTURES_A_PART = 1000
DIGESTS = "tars.json"  # in the index's folder: SHA-256 of tars without statistics, by path, size and time of change


@dataclass(frozen=True)
class Part:
    """Pictures that are embedded together.

    Attributes:
      path: the tar, or the folder.
      name: as results show it: the path below the folder that was given, that folder's own name first.
      below: of a folder: its path below the folder that was given; of a tar: "".
      pictures: of a folder: names of its pictures; of a tar: none.
      digest: what the part holds, in hex.
    """

    path: str
    name: str
    below: str
    pictures: tuple[str, ...]
    digest: str

    @property
    def is_tar(self) -> bool:
        return not self.pictures

    def examples(self, skipped: Skipped) -> Iterator[Example]:
        """Its pictures in order; `eval_key` is the key in the tar, or the file's name. What cannot be read goes to `skipped`."""
        if self.is_tar:
            yield from read_tar(self.path, "", None, skipped)
            return
        for name in self.pictures:
            path = files.join(self.path, name)
            try:
                size = files.size(path)
                data = files.read_bytes(path) if 0 < size <= MAX_IMAGE_BYTES else b""
            except OSError:
                skipped.add("cannot be read", safe_name(name))
                continue
            if data:
                yield Example(safe_name(name), data)
            else:
                skipped.add("too large" if size else "empty image", safe_name(name))


def find_parts(paths: Sequence[str], index: str) -> tuple[list[Part], dict[str, int]]:
    """Parts of everything that is to be searched, in order, each once; and counts of what is left out.

    Args:
      paths: folders of tars or of pictures, tars, patterns of tars.
      index: folder that keeps digests of tars.

    Raises:
      UserError: where one of them names nothing.
    """
    found: dict[str, Part] = {}
    left_out = {"unfinished shard": 0, "no image by its name": 0}
    for path in paths:
        if tars := _tars_of(path):
            whole, unfinished = find_tars(tars)
            left_out["unfinished shard"] += unfinished
            root = os.path.dirname(files.absolute(files.input_root(path)).rstrip("/"))
            digests = _digests(whole, index)
            parts = [Part(tar, safe_name(files.relative_name(tar, root)), "", (), digests[tar]) for tar in whole]
        elif files.is_folder(path):
            parts, others = _folder_parts(path)
            left_out["no image by its name"] += others
        else:
            fix = "give a folder of pictures or shards, or a pattern such as 'DIR/*.tar'"
            raise UserError("no such folder or tar", where=path, fix=fix)
        if not parts:
            raise UserError("no picture and no whole shard in it", where=path, fix="pictures are *.jpg, *.png, *.webp …")
        for part in parts:
            found.setdefault(f"{part.path}\0{part.digest}", part)
    return list(found.values()), {reason: number for reason, number in left_out.items() if number}


def _tars_of(path: str) -> list[str]:
    """Patterns of tars that a path stands for; none where it is a folder of pictures."""
    if path.endswith(".tar"):
        return [path]
    for pattern in (files.join(path, "*.tar"), files.join(path, "*", "*.tar")):  # shards; an evaluation set's splits
        if files.is_folder(path) and files.match(pattern):
            return [pattern]
    return []


def _folder_parts(root: str) -> tuple[list[Part], int]:
    """Parts of all pictures below a folder, and the number of files that are none by their names; hidden ones are passed over."""
    root = files.absolute(root).rstrip("/") or "/"
    names = [name for name in (files.relative_name(path, root) for path in files.below(root)) if "/." not in f"/{name}"]
    pictures = [name for name in names if name.rsplit(".", 1)[-1].lower() in IMAGE_SUFFIXES]
    parts = []
    ordered = sorted((*name.rpartition("/")[::2],) for name in pictures)
    for below, some in groupby(ordered, key=lambda pair: pair[0]):
        inside = [name for _, name in some]
        for start in range(0, len(inside), PICTURES_A_PART):
            chosen = tuple(inside[start : start + PICTURES_A_PART])
            folder = files.join(root, below) if below else root
            shown = "/".join(filter(None, (root.rsplit("/", 1)[-1], below)))
            parts.append(Part(folder, safe_name(shown), safe_name(below), chosen, _digest_of(folder, chosen)))
    return parts, len(names) - len(pictures)


def _digest_of(folder: str, names: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = files.join(folder, name)
        try:
            changed = 0 if files.is_remote(path) else os.stat(path).st_mtime_ns
            entry = [name, files.size(path), changed]
        except OSError:
            entry = [name, 0, 0]
        digest.update(json.dumps(entry).encode())
    return digest.hexdigest()


def _digests(tars: Mapping[str, str], index: str) -> dict[str, str]:
    """SHA-256 of each tar of `find_tars`: of shards from their statistics, of others from the file, once for each content."""
    found = {}
    kept = files.join(index, DIGESTS)
    known = files.read_json(kept) if files.exists(kept) else {}
    unknown = {}
    for tar, content in tars.items():
        stats = tar.removesuffix(".tar") + "_stats.json"
        if files.exists(stats) and (said := files.read_json(stats).get("tar_sha256")):
            found[tar] = str(said)
            continue
        stamp = f"{files.absolute(tar)} {content}"
        if stamp in known:
            found[tar] = known[stamp]
        else:
            unknown[tar] = stamp
    with progress("tars without statistics", len(unknown), "tar") as line:
        for tar, stamp in unknown.items():
            found[tar] = known[stamp] = sha256_of(tar)
            line.update()
    if unknown:
        files.write_json(kept, known)
    return found
