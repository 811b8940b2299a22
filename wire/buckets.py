"""Logarithmic buckets: which width they have, how they become coarser, and how they are packed into text.

Decides: the arithmetic that sketches share, and the packed form. Leaves out: counting (`wire/quantiles.py`).
Sources: Masson, Rim, Lee: DDSketch (VLDB 2019), logarithmic buckets; Epicoco, Melle, Cafaro, Pulimeno, Morleo:
UDDSketch (IEEE Access 8, 2020), the uniform collapse: buckets 2i - 1 and 2i become one, and every quantile keeps a
bound.

>>> unpack(pack({-3: 1, 4: 200}))
{-3: 1, 4: 200}
"""

import base64
import binascii
import math
from collections.abc import Iterator, Mapping

RELATIVE_ERROR_RATIO = 0.01
SMALLEST_VALUE = 1e-6
"""Values at or below it are counted as zero: a nanosecond, in milliseconds."""
LARGEST_VALUE = 1e300
"""Larger values are counted as this one, so that sums stay finite."""
LEAST_BUCKETS = 2
"""What any buckets can be collapsed to: one up to 1, one above."""
MOST_PACKED = 4096
"""Buckets that are read from one packed text."""
_LONGEST_VARINT = 10


def log_gamma(relative_error_ratio: float, collapsed: int = 0) -> float:
    """Return the logarithm of a bucket's upper bound over its lower one, after so many halvings."""
    return math.log((1 + relative_error_ratio) / (1 - relative_error_ratio)) * 2.0**collapsed


def error_ratio(relative_error_ratio: float, collapsed: int) -> float:
    """Return the relative error after so many halvings. Source: UDDSketch, a' = 2a / (1 + a^2)."""
    return math.tanh(math.atanh(relative_error_ratio) * 2.0**collapsed)


def middle(index: int, width: float) -> float:
    """Return the value that stands for a bucket whose `log_gamma` is `width`: no value in it is further off."""
    # 2 gamma^i / (gamma + 1) in logarithms: a collapsed bucket's bounds may be beyond any number.
    return math.exp(min(math.log(2) + index * width - width - math.log1p(math.exp(-width)), 700.0))


def coarser(buckets: Mapping[int, int], halvings: int) -> dict[int, int]:
    """Return the buckets at a resolution halved so often: index i goes to ceil(i / 2^halvings)."""
    if halvings <= 0:
        return dict(buckets)
    merged: dict[int, int] = {}
    for index, count in buckets.items():
        halved = -(-index >> halvings)
        merged[halved] = merged.get(halved, 0) + count
    return merged


def rounded(value: float | None) -> float | None:
    """Return `value` with 6 significant digits."""
    return None if value is None else float(f"{value:.6g}")


def pack(buckets: Mapping[int, int]) -> str:
    """Return buckets as base64 of `raw_buckets`."""
    return base64.b64encode(raw_buckets(buckets)).decode()


def unpack(text: str) -> dict[int, int]:
    """Return the buckets in `text`.

    Raises:
        ValueError: Not what `pack` gives: no base64, cut short, no ascending indices, a count of 0, or too many.
    """
    return read_buckets(varints(from_base64(text)))


def raw_buckets(buckets: Mapping[int, int]) -> bytes:
    """Return buckets as varints: the first index (zigzag), then for each bucket twice its count.

    One is added to it where the next bucket's index is not the next number; how much further it is then follows.
    """
    if not buckets:
        return b""
    raw = bytearray()
    indices = sorted(buckets)
    put(raw, (indices[0] << 1) ^ (indices[0] >> 63))
    for index, following in zip(indices, [*indices[1:], None], strict=True):
        gap = 0 if following is None else following - index - 1
        put(raw, buckets[index] << 1 | (gap > 0))
        if gap:
            put(raw, gap)
    return bytes(raw)


def read_buckets(numbers: Iterator[int]) -> dict[int, int]:
    """Return the buckets that `numbers` hold to their end.

    Raises:
        ValueError: Cut short, a count of 0, or too many.
    """
    buckets: dict[int, int] = {}
    first = next(numbers, None)
    if first is None:
        return buckets
    index, gap_follows, is_open = (first >> 1) ^ -(first & 1), False, True
    for number in numbers:
        if gap_follows:
            index, gap_follows = index + number, False
            continue
        count, gap_follows = number >> 1, bool(number & 1)
        if count == 0 or len(buckets) >= MOST_PACKED:
            raise ValueError(f"packed buckets hold an empty one, or more than {MOST_PACKED}")
        buckets[index] = count
        index, is_open = index + 1, gap_follows
    if is_open:
        raise ValueError("packed buckets are cut short")
    return buckets


def from_base64(text: str) -> bytes:
    """Return the bytes in `text`.

    Raises:
        ValueError: Not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"a packed sketch is not base64: {exc}") from exc


def put(raw: bytearray, number: int) -> None:
    """Append a varint: seven bits a byte, the lowest first, the eighth set where more follow."""
    while number > 0x7F:
        raw.append((number & 0x7F) | 0x80)
        number >>= 7
    raw.append(number)


def varints(raw: bytes) -> Iterator[int]:
    """Yield the varints in `raw`.

    Raises:
        ValueError: Cut short, or one of more than 10 bytes.
    """
    number = length = 0
    for byte in raw:
        number |= (byte & 0x7F) << (7 * length)
        length += 1
        if length > _LONGEST_VARINT:
            raise ValueError("a packed sketch holds a number of more than 10 bytes")
        if byte < 0x80:
            yield number
            number = length = 0
    if length:
        raise ValueError("a packed sketch is cut short")
