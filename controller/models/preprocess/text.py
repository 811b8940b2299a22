"""Text in plain Python and numpy: the model's inputs for bytes of texts, for calibration data.

token_inputs(pre, queries, folder)  # {"ids": (n, 128), "mask": (n, 128)}, int64 or int32
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData, UnusableModel
from wire.spec import TextPre

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
        tokeniser: Any = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as exc:  # the library raises nothing more special
        raise UnusableModel(f"{path} is no readable tokenizer.json: {exc}") from exc
    tokeniser.no_truncation()
    tokeniser.no_padding()
    return tokeniser


def _encoded(pre: TextPre, tokeniser: Any, query: NDArray[Any], number: int) -> Any:
    content = np.asarray(query).astype(np.uint8).tobytes().rstrip(b"\0")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UnusableData(f"sample {number} is no UTF-8 text: {exc}") from exc
    encoding = tokeniser.encode(text, add_special_tokens=pre.special_tokens)
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
