"""Text in plain Python and numpy: the model's inputs for bytes of texts, for calibration data.

token_inputs(pre, queries, folder)  # {"ids": (n, 128), "mask": (n, 128)}, int64 or int32
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData, UnusableModel
from wire.spec import TextPre
from wire.spec.base import RANGES
from wire.spec.text import UNKNOWN_TEXT

MOST_TRIES = 100
"""Draws for each text that is wanted."""


def token_inputs(pre: TextPre, queries: NDArray[Any], folder: Path) -> dict[str, NDArray[Any]]:
    """Return the model's inputs by name.

    Args:
        pre: Declared pre-processing.
        queries: UTF-8 bytes with zero bytes behind them, as whole numbers, shape (n, bytes).
        folder: Holds the tokeniser.
    Returns:
        Each of shape (n, length), of its input's dtype.
    Raises:
        UnusableData: A text that the pipeline refuses.
        UnusableModel: The tokeniser cannot be read, or the library for it is not installed.
    """
    tokeniser = open_tokeniser(folder / pre.tokeniser)
    rows: dict[str, list[list[int]]] = {"ids": [], "mask": [], "types": []}
    for number, query in enumerate(queries):
        encoding = _encoded(pre, tokeniser, query, number)
        rows["ids"].append(_padded(pre, encoding.ids, pre.pad_id))
        rows["mask"].append(_padded(pre, [1] * len(encoding.ids), 0))
        rows["types"].append(_padded(pre, encoding.type_ids, 0))
    named = (("ids", pre.input), ("mask", pre.mask), ("types", pre.types))
    return {tensor.name: np.array(rows[part], dtype=tensor.dtype) for part, tensor in named if tensor is not None}


def made_up_texts(pre: TextPre, file: Path, shape: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """Return texts of words that stand in the tokeniser's own file, which goes to every device anyway.

    Args:
        pre: Declared pre-processing, which takes the texts.
        file: The tokeniser.
        shape: Texts, and bytes of each; shorter ones have zero bytes behind them.
        seed: Same seed, same texts.
    Raises:
        UnusableModel: The tokeniser cannot be read, or none of its words fits.
    """
    tokeniser, random = open_tokeniser(file), np.random.default_rng(seed)
    numbers = np.array(sorted(tokeniser.get_vocab().values()))
    texts: NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
    made = 0
    for _ in range(MOST_TRIES * shape[0]):
        drawn = random.choice(numbers, int(random.integers(1, max(2, pre.length))))
        content = tokeniser.decode(drawn.tolist()).encode()[: shape[1]].decode("utf-8", "ignore").encode()
        text = np.frombuffer(content, dtype=np.uint8)
        if not _taken(pre, tokeniser, text):
            continue
        texts[made, : text.size] = text
        made += 1
        if made == shape[0]:
            return texts
    raise UnusableModel(f"{file}: no text of its words is one that `pre` takes: see pre.length and pre.truncate")


def _taken(pre: TextPre, tokeniser: Any, text: NDArray[np.uint8]) -> bool:
    try:
        return text.size > 0 and bool(_encoded(pre, tokeniser, text, 0).ids)
    except UnusableData:
        return False


def open_tokeniser(path: Path) -> Any:
    """Return the tokeniser in a file, set to cut and pad nothing.

    Raises:
        UnusableModel: It cannot be read, or the library for it is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as exc:
        raise UnusableModel("models of text need the package tokenizers: install thresher[text]") from exc
    try:
        tokeniser: Any = _asked(Tokenizer.from_str, path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise UnusableModel(f"{path} is no readable tokenizer.json: {exc}") from exc
    tokeniser.no_truncation()
    tokeniser.no_padding()
    return tokeniser


def check_tokeniser(pre: TextPre, path: Path) -> None:
    """Refuse a tokeniser that devices refuse when they load it, or whose numbers a model's input does not hold.

    Raises:
        UnusableModel: It cannot be read, leaves no room for a text, has no token `pad_id`, or fails at unknown words.
    """
    tokeniser = open_tokeniser(path)
    own = tokeniser.num_special_tokens_to_add(False) if pre.special_tokens else 0
    if pre.length <= own:
        raise UnusableModel(
            f"{path}: pre.length is {pre.length}, a text is surrounded by {own} tokens: more are needed"
        )
    numbers = tokeniser.get_vocab().values()
    if pre.pad_id >= len(numbers) and pre.pad_id not in numbers:
        raise UnusableModel(f"{path}: pre.pad_id is {pre.pad_id}, which is none of its {len(numbers)} tokens")
    largest, given = RANGES.get(pre.input.dtype, RANGES["int64"])[1], max(numbers, default=0)
    if given > largest:
        raise UnusableModel(f"{path}: has a token of number {given}, the input is {pre.input.dtype}: at most {largest}")
    try:
        _asked(tokeniser.encode, UNKNOWN_TEXT, add_special_tokens=pre.special_tokens)
    except ValueError as exc:
        raise UnusableModel(
            f"{path}: fails at words that it does not know: {exc}; give it an unknown token that stands in the "
            f"vocabulary of its model, and import again"
        ) from exc


def _asked(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what the library gives; raise ValueError where it fails."""
    try:
        return call(*arguments, **options)
    except MemoryError:
        raise
    except BaseException as exc:
        # The library raises plain `Exception`, and where its Rust code panics an error that is not even one of those.
        if not isinstance(exc, Exception) and type(exc).__name__ != "PanicException":
            raise
        raise ValueError(str(exc)[:300]) from exc


def _encoded(pre: TextPre, tokeniser: Any, query: NDArray[Any], number: int) -> Any:
    content = np.asarray(query).astype(np.uint8).tobytes().rstrip(b"\0")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UnusableData(f"sample {number} is no UTF-8 text: {exc}") from exc
    try:
        encoding = _asked(tokeniser.encode, text, add_special_tokens=pre.special_tokens)
    except ValueError as exc:
        raise UnusableData(f"sample {number} is refused by the tokeniser: {exc}") from exc
    count = len(encoding.ids)
    if len(content) > pre.largest_bytes or count == 0 or (count > pre.length and pre.truncate == "error"):
        raise UnusableData(
            f"sample {number} has {len(content)} bytes and {count} tokens: the pipeline takes 1 to {pre.length} tokens "
            f"of at most {pre.largest_bytes} bytes"
        )
    if count > pre.length:
        # Cut by the library, which keeps the tokens that surround a text.
        tokeniser.enable_truncation(pre.length, direction=pre.truncate)
        encoding = tokeniser.encode(text, add_special_tokens=pre.special_tokens)
        tokeniser.no_truncation()
    return encoding


def _padded(pre: TextPre, numbers: list[int], padding: int) -> list[int]:
    rest = [padding] * (pre.length - len(numbers))
    return [*numbers, *rest] if pre.pad_side == "right" else [*rest, *numbers]
