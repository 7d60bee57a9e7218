"""Lower-cased byte-level BPE, as in CLIP: trained on texts, or made of OpenAI's merges, whose ids it then gives.

Text is repaired, lower-cased and split into words in Python, since those rules must equal OpenAI's on any text; the
merging is done by the `tokenizers` library. Ids: 256 bytes, 256 bytes that end a word, one for each merge, start of text, end
of text. So end of text is always the largest id.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import ftfy
import numpy as np
import regex
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from wit_builder import files
from wit_builder.errors import UserError

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
FEWEST_IDS = 515
MERGES_OF_OPENAI = 49_152 - 256 - 2  # lines of its merges file that count

# OpenAI's pattern: contractions, runs of letters, single digits, runs of anything else but white space.
PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_WORD = regex.compile(PATTERN, regex.IGNORECASE)
_SPACE = regex.compile(r"\s+")
_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_PLAIN = regex.compile(r"[ !-%'-~]*")  # printable ASCII without &: nothing for ftfy or html to mend


def clean(text: str) -> str:
    """Mis-decoded text and HTML entities mended, white space collapsed, lower case."""
    if not _PLAIN.fullmatch(text):
        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return _SPACE.sub(" ", text.strip()).strip().lower()


def words(text: str) -> list[str]:
    """The pieces within which bytes are merged."""
    return _WORD.findall(clean(text))


def byte_characters() -> list[str]:
    """The printable character that stands for each byte, in the order of their ids, as in GPT-2 and CLIP."""
    return [chr(byte) for byte in _PRINTABLE] + [chr(256 + index) for index in range(256 - len(_PRINTABLE))]


def _byte_order() -> list[int]:
    return _PRINTABLE + [byte for byte in range(256) if byte not in _PRINTABLE]


class Tokenizer:
    """Texts to token ids.

    Attributes:
      merges: pairs of symbols, in the order in which they were learned.
      vocabulary: number of ids.
    """

    def __init__(self, merges: Sequence[tuple[str, str]]) -> None:
        self.merges = [tuple(merge) for merge in merges]
        symbols = byte_characters()
        symbols += [symbol + WORD_END for symbol in symbols]
        symbols += ["".join(merge) for merge in self.merges]
        symbols += [START, END]
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}
        self.vocabulary = len(symbols)
        self.start, self.end = self.vocabulary - 2, self.vocabulary - 1

    @cached_property
    def _merger(self) -> tokenizers.Tokenizer:
        model = models.BPE(vocab=self._ids, merges=self.merges, end_of_word_suffix=WORD_END)
        merger = tokenizers.Tokenizer(model)
        merger.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        merger.add_special_tokens([START, END])
        return merger

    def __getstate__(self) -> dict:
        return {"merges": self.merges}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["merges"])

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without start and end."""
        split = [words(text) for text in texts]
        encoded = self._merger.encode_batch(split, is_pretokenized=True, add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def encode(self, texts: Sequence[str], context: int = 77) -> np.ndarray:
        """Ids int32 [texts, context]: start, text, end, zeros; a text that is too long is cut, its end kept."""
        tokens = np.zeros((len(texts), context), np.int32)
        for row, ids in zip(tokens, self.ids(texts)):
            inside = ids[: context - 2]
            row[0] = self.start
            row[1 : len(inside) + 1] = inside
            row[len(inside) + 1] = self.end
        return tokens

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids, without start, end and padding after the end."""
        symbols = {index: symbol for symbol, index in self._ids.items()}
        text = ""
        for index in ids:
            if index == self.end:
                break
            if index != self.start:
                text += symbols[index]
        bytes_of = dict(zip(byte_characters(), _byte_order()))
        pieces = [bytes(bytes_of[character] for character in piece) for piece in text.split(WORD_END)]
        return b" ".join(pieces).decode("utf-8", "replace").strip()

    def to_json(self) -> dict:
        """What a checkpoint holds of it."""
        return {"merges": [" ".join(merge) for merge in self.merges]}

    @classmethod
    def from_json(cls, value: dict) -> Tokenizer:
        return cls([tuple(merge.split(" ")) for merge in value["merges"]])

    def save(self, path: str) -> None:
        """Write in the form of the `tokenizers` library's tokenizer.json, with rules near enough for its other users.

        Its own normalisation knows no ftfy, so on mis-decoded text its ids may differ from ours; we read only the merges.
        """
        near = tokenizers.Tokenizer(models.BPE(vocab=self._ids, merges=self.merges, end_of_word_suffix=WORD_END, unk_token=END))
        near.normalizer = normalizers.Sequence([
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ])
        near.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(tokenizers.Regex(PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        near.post_processor = tokenizers.processors.RobertaProcessing(
            sep=(END, self.end), cls_token=(START, self.start), add_prefix_space=False, trim_offsets=False
        )
        near.add_special_tokens([START, END])
        files.write_bytes(path, (near.to_str(pretty=True) + "\n").encode())

    def save_merges(self, path: str) -> None:
        """Write the merges as `SimpleTokenizer(bpe_path=…)` of OpenAI and open_clip reads them: a line of the version, a merge a line.

        They read no more than `MERGES_OF_OPENAI` merges, and take an empty last line for one, so there is none.
        """
        text = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in self.merges)])
        files.write_bytes(path, gzip.compress(text.encode(), mtime=0))


def load_tokenizer(path: str) -> Tokenizer:
    """From what `save` wrote, any CLIP tokenizer.json, or a merges file such as OpenAI's bpe_simple_vocab_16e6.txt.gz.

    Raises:
      UserError: where it is none of these.
    """
    data = files.read_bytes(path)
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
        if text.lstrip().startswith("{"):
            merges = json.loads(text)["model"]["merges"]
            pairs = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in merges]
        else:
            # The first line of a merges file says its version; OpenAI's holds more lines than it uses.
            pairs = [tuple(line.split()) for line in text.split("\n")[1 : MERGES_OF_OPENAI + 1] if line.strip()]
            if not pairs:
                raise ValueError("no merges in it")
        if not all(len(pair) == 2 and all(isinstance(part, str) for part in pair) for pair in pairs):
            raise ValueError("a merge is not a pair of symbols")
        tokenizer = Tokenizer(pairs)
        _ = tokenizer._merger
    except Exception as error:  # the library raises plain Exception for merges that do not fit together
        raise UserError(
            f"not a BPE tokenizer: {error}", where=path, fix="make one with trainer tokenizer, or give OpenAI's merges"
        ) from error
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Learn merges from texts until there are `vocabulary` ids, or no pair occurs twice.

    Raises:
      UserError: where `vocabulary` has no room for the bytes, or there is no text.
    """
    if vocabulary < FEWEST_IDS:
        fix = f"at least {FEWEST_IDS}: 512 for bytes, 2 for start and end"
        raise UserError(f"a vocabulary of {vocabulary} has no room for merges", fix=fix)
    seen = 0

    def lines() -> Iterator[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield " ".join(words(text))

    learner = tokenizers.Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    # Named as special tokens, the first symbols have fixed numbers. Otherwise these would follow the order of a hash table,
    # and pairs of equal count would be merged in another order on each run.
    first = byte_characters() + [symbol + WORD_END for symbol in byte_characters()]
    learner.train_from_iterator(
        lines(),
        trainers.BpeTrainer(
            vocab_size=vocabulary - 2, min_frequency=2, show_progress=False, end_of_word_suffix=WORD_END, special_tokens=first
        ),
    )
    if not seen:
        raise UserError("there is no text to learn a tokenizer from")
    merges = json.loads(learner.to_str())["model"]["merges"]
    return Tokenizer([tuple(merge) for merge in merges[: vocabulary - 514]])  # two merges may give one symbol
