"""Evaluation sets: one reader for CLIP_benchmark's webdataset layout and for folders of class folders, without torch.

    SET/classnames.txt                             one class a line, in the order of the labels
    SET/zeroshot_classification_templates.txt      prompts with {} or {c} where the class goes; optional here
    SET/test/nshards.txt, SET/test/0.tar …         CLIP_benchmark's layout; also train, validation
    SET/00000.tar …                                shards without splits: all are test

    SET/test/CLASS/….jpg  or  SET/CLASS/….jpg      class folders; their sorted names are the classes, unless classnames.txt
                                                   names them in that order; a folder in a class folder is one clip

An image that cannot be used is counted and named in `Skipped`, and never stops a run.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalset_tars import (
    CLIP_COLUMN,
    IMAGE_SUFFIXES,
    MAX_IMAGE_BYTES,
    Example,
    Skipped,
    multi_hot_file,
    read_tar,
    safe_name,
    write_tar,
)
from wit_builder.text import clean

__all__ = ["EvaluationSet", "Example", "Skipped", "class_prompt", "open_pictures", "open_set", "parse_set_flags", "write_set"]

CLASS_NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
SHARD_COUNT = "nshards.txt"
DATASET_TYPE = "dataset_type.txt"
SPLIT_NAMES = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
_SPLIT_OF = {folder: split for split, folders in SPLIT_NAMES.items() for folder in folders}


@dataclass(frozen=True)
class EvaluationSet:
    """One evaluation set, found but not yet read.

    Attributes:
      name: what the user calls it; the `dataset` column of predictions and overlaps.
      path: its folder.
      class_names: names as they go into prompts, by label; empty where the set has no classes (retrieval).
      templates: prompts with `{}` where the class goes; empty where the set has no template file.
      splits: folder of each split that is there, by its name (train, validation, test); "" is the set's folder itself.
      class_folders: names of the class folders by label; empty for tars; a single "" for pictures without classes.
    """

    name: str
    path: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    splits: Mapping[str, str]
    class_folders: tuple[str, ...] = ()

    def examples(self, split: str = "test", skipped: Skipped | None = None) -> Iterator[Example]:
        """Examples of one split, one at a time, always in the same order.

        Args:
          split: train, validation or test.
          skipped: gets what could not be used.

        Raises:
          UserError: where the set has no such split, or its tars are not all there.
        """
        folder = self._folder_of(split)
        skipped = Skipped() if skipped is None else skipped
        if self.class_folders:
            return self._folder_examples(folder, skipped)
        return self._tar_examples(_tars(files.join(self.path, folder)), folder, skipped)

    def fingerprint(self, split: str = "test", *, times: bool = False) -> str:
        """SHA-256, in hex, of the names and sizes of a split's files and of its classes: for manifests and cache keys.

        Args:
          split: train, validation or test.
          times: also of the local files' times of change, which notice new content of the same size.

        Raises:
          UserError: as `examples` does.
        """
        folder = self._folder_of(split)
        digest = hashlib.sha256(json.dumps([self.class_names, self.class_folders]).encode())
        if self.class_folders:
            heads = [files.join(self.path, *filter(None, (folder, name))) for name in self.class_folders]
            paths = (files.join(head, name) for head in heads for name in _names_below(head))
        else:
            paths = iter(_tars(files.join(self.path, folder)))
        for path in paths:
            changed = os.stat(path).st_mtime_ns if times and not files.is_remote(path) else 0
            entry = json.dumps([safe_name(files.relative_name(path, self.path)), files.size(path), changed])
            digest.update(entry.encode())
        return digest.hexdigest()

    def _folder_of(self, split: str) -> str:
        if split not in self.splits:
            raise UserError(f"no {split} split in {self.name} (it has {', '.join(self.splits)})", where=self.path)
        return self.splits[split]

    def _tar_examples(self, tars: Sequence[str], folder: str, skipped: Skipped) -> Iterator[Example]:
        for tar in tars:
            name = tar.rsplit("/", 1)[-1]
            yield from read_tar(tar, "/".join([*filter(None, [folder]), safe_name(name)]), len(self.class_names) or None, skipped)

    def _folder_examples(self, folder: str, skipped: Skipped) -> Iterator[Example]:
        for label, class_folder in enumerate(self.class_folders):
            parts = [*filter(None, (folder, class_folder))]
            for name in _names_below(files.join(self.path, *parts)):
                path = files.join(self.path, *parts, name)
                eval_key = safe_name("/".join([*parts, name]))
                if name.rsplit(".", 1)[-1].lower() not in IMAGE_SUFFIXES:
                    skipped.add("no image by its name", eval_key)
                    continue
                try:
                    size = files.size(path)
                    image = files.read_bytes(path) if 0 < size <= MAX_IMAGE_BYTES else b""
                except OSError:
                    skipped.add("cannot be read", eval_key)
                    continue
                if not image:
                    skipped.add("too large" if size else "empty image", eval_key)
                    continue
                if not self.class_names:
                    yield Example(eval_key, image)
                    continue
                clip = eval_key.rsplit("/", 1)[0] if "/" in name else ""
                yield Example(eval_key, image, label, (label,), clip=clip)


def open_set(path: str, name: str) -> EvaluationSet:
    """Find an evaluation set's layout, classes, templates and splits; no image is read.

    Args:
      path: its folder, local or remote.
      name: what to call it.

    Raises:
      UserError: where there is no such folder, no tars or class folders in it, or a list in it is malformed.
    """
    path = path.rstrip("/") or "/"
    if not files.is_folder(path):
        raise UserError(f"no such folder for the evaluation set {name}", where=path, fix="check the path after --eval NAME=")
    templates = tuple(_template(line, path) for line in _lines(path, TEMPLATES) or ())
    listed = _lines(path, CLASS_NAMES)
    folders = _folders(path)
    splits = {_SPLIT_OF[folder]: folder for folder in folders if folder in _SPLIT_OF}
    with_tars = {split: folder for split, folder in splits.items() if _has_tars(files.join(path, folder))}
    if with_tars:
        return EvaluationSet(name, path, tuple(listed or ()), templates, with_tars)
    # A class may be called "train": the folders are splits only where all of them are.
    if not folders or len(splits) < len(folders):
        splits = {"test": ""}
    class_folders = sorted({folder for split in splits.values() for folder in _folders(files.join(path, split) if split else path)})
    if not class_folders and _has_tars(path):  # shards as they are, for retrieval on pairs held out
        return EvaluationSet(name, path, tuple(listed or ()), templates, {"test": ""})
    if not class_folders:
        raise UserError(f"no tars and no class folders in the evaluation set {name}", where=path, fix="see docs/data-formats.md")
    if listed is not None and len(listed) != len(class_folders):
        raise UserError(
            f"{CLASS_NAMES} names {len(listed)} classes, but there are {len(class_folders)} class folders",
            where=path,
            fix=f"give one line for each folder, in their sorted order, or delete {CLASS_NAMES}",
        )
    names = listed or [clean(folder.replace("_", " ")) for folder in class_folders]
    return EvaluationSet(name, path, tuple(names), templates, splits, tuple(class_folders))


def open_pictures(path: str, name: str) -> EvaluationSet:
    """Pictures to be looked through, labels or not: a set in CLIP_benchmark's layout, or all pictures below a folder.

    Raises:
      UserError: where there is no such folder.
    """
    path = path.rstrip("/") or "/"
    if not files.is_folder(path):
        raise UserError(f"no such folder for the pictures of {name}", where=path, fix="check the path")
    if any(_has_tars(files.join(path, folder)) for folder in _SPLIT_OF):
        return open_set(path, name)
    return EvaluationSet(name, path, (), (), {"test": ""}, ("",))


def parse_set_flags(values: Sequence[str]) -> list[EvaluationSet]:
    """Sets of `--eval NAME=DIR …`, opened.

    Raises:
      UserError: where a value is not NAME=DIR, a name is used twice, or a set cannot be opened.
    """
    sets: dict[str, EvaluationSet] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path or clean(name) != name or "/" in name:
            raise UserError(f"{value!r} is not NAME=DIR", fix="for instance --eval cifar10=/data/cifar10")
        if name in sets:
            raise UserError(f"the evaluation set name {name!r} is given twice", fix="give each set a name of its own")
        sets[name] = open_set(path, name)
    return list(sets.values())


def class_prompt(template: str, class_name: str) -> str:
    """The prompt for one class. Nothing but `{}` is replaced, whatever braces the name holds."""
    return template.replace("{}", class_name)


def _template(line: str, path: str) -> str:
    template = line.replace("{c}", "{}")
    if "{}" not in template:
        raise UserError(f"{line!r} in {TEMPLATES} has no {{}} or {{c}} for the class", where=path, fix="add one, or delete the line")
    return template


def _lines(path: str, name: str) -> list[str] | None:
    """Lines of a list in the set's folder, white space collapsed; None where it is not there."""
    if not files.exists(files.join(path, name)):
        return None
    lines = [clean(line) for line in files.read_bytes(files.join(path, name)).decode("utf-8", "replace").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if not lines or "" in lines:
        where = f"line {lines.index('') + 1} of {name} is empty" if lines else f"{name} is empty"
        raise UserError(where, where=path, fix="every line must hold one entry")
    return lines


def _folders(path: str) -> list[str]:
    """Names of the folders directly below, sorted; hidden ones left out."""
    if files.is_remote(path):
        heads = {files.relative_name(found, path).partition("/") for found in files.match(files.join(path, "**"))}
        return sorted({head for head, slash, _ in heads if slash and not head.startswith(".")})
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _names_below(path: str) -> list[str]:
    """Paths of all files below a folder, relative to it, with forward slashes, sorted; hidden ones left out."""
    if files.is_remote(path):
        return sorted(files.relative_name(found, path) for found in files.match(files.join(path, "**")))
    found = []
    for folder, _, names in os.walk(path):
        head = "" if folder == path else files.relative_name(folder, path) + "/"
        found += [head + name for name in names if not name.startswith(".")]
    return sorted(found)


def _has_tars(folder: str) -> bool:
    return files.exists(files.join(folder, SHARD_COUNT)) or bool(files.match(files.join(folder, "*.tar")))


def _tars(folder: str) -> list[str]:
    """The tars of a split, in order of their numbers."""
    count_file = files.join(folder, SHARD_COUNT)
    if not files.exists(count_file):
        return sorted(files.match(files.join(folder, "*.tar")), key=lambda path: (len(path), path))
    text = files.read_bytes(count_file)[:64].strip()
    if not text.isdigit() or not 0 < int(text) < 1_000_000:
        raise UserError("not a number of tars", where=count_file, fix="it must hold the number of tars in its folder")
    tars = [files.join(folder, f"{number}.tar") for number in range(int(text))]
    missing = [path for path in tars if not files.exists(path)]
    if missing:
        raise UserError(f"{len(missing)} of {len(tars)} tars are missing, first {missing[0]}", where=folder, fix=f"see {SHARD_COUNT}")
    return tars


def write_set(
    path: str,
    splits: Mapping[str, Iterable[Example]],
    *,
    class_names: Sequence[str] = (),
    templates: Sequence[str] = (),
    suffix: str = "jpg",
    per_tar: int = 10_000,
) -> None:
    """Write a set in CLIP_benchmark's layout, the same bytes for the same examples.

    Args:
      path: the set's folder.
      splits: examples of each split; an eval_key is not kept, since keys are numbered `s0000000`, ….
      class_names: by label; none makes it a set for retrieval, its captions in KEY.txt.
      templates: prompts with `{}`; written with CLIP_benchmark's `{c}`.
      suffix: of the images' encoding.
      per_tar: images in a tar.
    """
    for split, examples in splits.items():
        samples = ((f"s{index:07d}", _parts(example, suffix, len(class_names))) for index, example in enumerate(examples))
        number, first = 0, next(samples, None)
        while first or not number:
            batch = itertools.chain([first] if first else [], itertools.islice(samples, per_tar - 1))
            write_tar(files.join(path, split, f"{number}.tar"), batch)
            number, first = number + 1, next(samples, None)
        files.write_bytes(files.join(path, split, SHARD_COUNT), str(number).encode())
    files.write_bytes(files.join(path, DATASET_TYPE), b"classification" if class_names else b"retrieval")
    for name, lines in ((CLASS_NAMES, class_names), (TEMPLATES, [template.replace("{}", "{c}") for template in templates])):
        if lines:
            files.write_bytes(files.join(path, name), "\n".join(lines).encode())


def _parts(example: Example, suffix: str, classes: int) -> dict[str, bytes]:
    parts = {suffix: example.image}
    if example.label is not None:
        parts["cls"] = str(example.label).encode()
    elif example.labels:
        parts["npy"] = multi_hot_file(example.labels, classes)
    if example.captions:
        parts["txt"] = "\n".join(example.captions).encode()
    columns = dict(example.columns) | ({CLIP_COLUMN: example.clip} if example.clip else {})
    if columns:
        parts["json"] = json.dumps(columns, sort_keys=True, ensure_ascii=False).encode()
    return parts
