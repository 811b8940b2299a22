"""A tokeniser of whole words, made here, and a model that averages their vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from wire.spec import TensorSpec, TextPre

WORDS = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "good": 4, "bad": 5, "very": 6, "plain": 7, "größe": 8}
PAD, UNKNOWN, BEGIN, END = range(4)
LENGTH = 6


def tokeniser() -> Any:
    """Return one that puts [CLS] before a text and [SEP] behind it, and whose file asks for other cuts than bundles."""
    made: Any = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    surround = [("[CLS]", BEGIN), ("[SEP]", END)]
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=surround)
    made.enable_truncation(3)
    made.enable_padding(length=11)
    return made


def save_tokeniser(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tokeniser().save(str(path))
    return path


def save_far(path: Path, number: int) -> Path:
    """Save a tokeniser whose word `far` has a number far from the others."""
    written = json.loads(tokeniser().to_str())
    written["model"]["vocab"]["far"] = number
    path.write_text(json.dumps(written))
    return path


def without_unknown(words: list[str]) -> Any:
    """Return a model of whole words whose unknown token is not among them."""
    known = {word: number for word, number in WORDS.items() if word != "[UNK]"}
    more = {word: len(WORDS) + place for place, word in enumerate(words)}
    return models.WordLevel({**known, **more}, unk_token="[UNK]")


BROKEN: dict[str, Any] = {
    "words": without_unknown,
    "pieces": lambda _: models.WordPiece({"good": 4}, unk_token="[UNK]"),
    "pairs": lambda _: models.BPE({"g": 0}, [], unk_token="[UNK]"),
    "unigrams": lambda _: models.Unigram([("good", -1.0)]),
}
"""Models that fail at words which they do not know."""


def save_broken(path: Path, name: str, words: list[str] | None = None) -> Path:
    made: Any = Tokenizer(BROKEN[name](words or []))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.save(str(path))
    return path


def save_letters(path: Path) -> Path:
    """Save a tokeniser of two letters, which has no unknown token at all."""
    Tokenizer(models.BPE({"[PAD]": 0, "a": 1, "b": 2}, [])).save(str(path))
    return path


def tensor(name: str, dtype: Any = "int64") -> TensorSpec:
    return TensorSpec(name=name, shape=(-1, LENGTH), dtype=dtype)


def text_pre(**fields: Any) -> TextPre:
    return TextPre.model_validate({"length": LENGTH, "input": tensor("ids"), "mask": tensor("mask"), **fields})


def query(text: str, padding: int = 0) -> NDArray[np.uint8]:
    """Return a text as a query."""
    return np.frombuffer(text.encode() + bytes(padding), dtype=np.uint8)


def queries(texts: list[str]) -> NDArray[np.uint8]:
    """Return texts stacked, with zero bytes behind the shorter ones."""
    longest = max(len(text.encode()) for text in texts)
    return np.stack([query(text, longest - len(text.encode())) for text in texts])
