"""What is looked for: texts, pictures, or a text and a picture together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from learning.images import ImageError
from learning.vectors import unit_length
from trainer.evaluate.encoder import Encoder
from trainer.evaluate.row_files import read_rows
from wit_builder import files
from wit_builder.errors import UserError
from wit_builder.evalset_tars import MAX_IMAGE_BYTES
from wit_builder.text import clean


@dataclass(frozen=True)
class Query:
    """A text, a picture, or both. At least one is there.

    Attributes:
      text: what results should show; "" for none.
      image: path of a picture that they should be like; "" for none.
      data: the picture's bytes.
    """

    text: str = ""
    image: str = ""
    data: bytes = field(default=b"", repr=False)

    @property
    def label(self) -> str:
        """How the page calls it."""
        return " + ".join(filter(None, (self.text, f"picture {os.path.basename(self.image)}" if self.image else "")))


def read_queries(texts: Sequence[str], images: Sequence[str], table: str = "", *, combine: bool = False) -> list[Query]:
    """All queries: texts, then pictures, then the rows of a file.

    Args:
      texts: of `--text`.
      images: of `--image`.
      table: CSV or Parquet with text, image (a path, from the file's folder), or both in a row; else a file with one text a line.
      combine: make one query of all texts and pictures of the flags.

    Raises:
      UserError: where there is nothing to look for, a text is empty, or a picture cannot be read.
    """
    found = [Query(text=_text(text, "--text")) for text in texts] + [_picture("", image, "--image") for image in images]
    if combine:
        if len(found) != 2 or found[0].image or not found[1].image:
            raise UserError("it takes one --text and one --image", where="--combine", fix="give pairs in a table for --queries")
        found = [Query(found[0].text, found[1].image, found[1].data)]
    if table:
        found += _of_table(table)
    if not found:
        raise UserError("there is nothing to look for", where="--text, --image, --queries", fix="give at least one of them")
    return found


def _text(text: str, where: str) -> str:
    cleaned = clean(text)
    if not cleaned:
        raise UserError("an empty text finds nothing", where=where)
    return cleaned


def _picture(text: str, path: str, where: str) -> Query:
    if not files.exists(path) or files.is_folder(path):
        raise UserError(f"no such picture: {path}", where=where, fix="check the path")
    if files.size(path) > MAX_IMAGE_BYTES:
        raise UserError(f"{path} is larger than {MAX_IMAGE_BYTES >> 20} MiB", where=where, fix="give a smaller picture")
    return Query(text, path, files.read_bytes(path))


def _of_table(path: str) -> list[Query]:
    if not path.endswith((".csv", ".parquet")):
        lines = files.read_bytes(path).decode("utf-8-sig", "replace").splitlines()
        return [Query(text=cleaned) for line in lines if (cleaned := clean(line))]
    rows, names = read_rows(path, [], "columns: text, image, or both")
    if not {"text", "image"} & set(names):
        raise UserError("no column text and no column image", where=path, fix="give at least one of them")
    found = []
    for number, row in enumerate(rows, 2):
        where = f"{path}, line {number}"
        text, image = clean(str(row.get("text") or "")), str(row.get("image") or "").strip()
        if image:
            image = image if os.path.isabs(image) or files.is_remote(image) else files.join(os.path.dirname(path), image)
            found.append(_picture(text, image, where))
        else:
            found.append(Query(text=_text(text, where)))
    return found


def embed_queries(encoder: Encoder, queries: Sequence[Query], prefix: str = "") -> np.ndarray:
    """Unit vectors float32 [q, e]; of a text and a picture, the mean of their unit vectors, brought to unit length.

    Args:
      encoder: the model.
      queries: q queries.
      prefix: put before every text; the paper uses "a photo of ".

    Raises:
      UserError: where a picture cannot be decoded.
    """
    vectors = np.zeros((len(queries), encoder.model.config.embed), np.float32)
    with_text = [number for number, query in enumerate(queries) if query.text]
    if with_text:
        vectors[with_text] = encoder.embed_texts([prefix + queries[number].text for number in with_text], "queries")
    with_image = [number for number, query in enumerate(queries) if query.image]
    for start in range(0, len(with_image), encoder.batch_size):
        some = with_image[start : start + encoder.batch_size]
        vectors[some] += encoder.embed_images(np.stack([_decoded(encoder, queries[number]) for number in some]))[1]
    return unit_length(vectors)


def _decoded(encoder: Encoder, query: Query) -> np.ndarray:
    try:
        return encoder.loaded.preprocessing(query.data)
    except ImageError as error:
        raise UserError(str(error), where=query.image, fix="give a JPEG, PNG, WebP, GIF, BMP or TIFF") from error
