"""Does a specification's tensor fit the model's, and which shape has one query in the engine's buffer?"""

from collections.abc import Sequence

from agent.errors import BadBundle
from agent.inference.engines.base import TensorInfo
from wire.spec import TensorSpec

DTYPES = ("float32", "float16", "int8", "uint8", "int32", "int64")
SCALE_TOLERANCE_RATIO = 1e-5
"""A scale is float32 in the model's file and decimal text in the specification."""


def check_tensor(role: str, expected: TensorSpec, given: TensorInfo, *, batched: bool = True) -> None:
    """Refuse a specification that does not describe the model.

    Args:
        role: `input` or `output`, for the message.
        expected: The specification's tensor.
        given: The model's.
        batched: Whether its first axis is the batch.
    Raises:
        BadBundle: Name, shape, dtype or quantisation differs; both sides are named.
    """
    if expected.name != given.name:
        raise BadBundle(f"{role}: the specification says {expected.name!r}, the model {given.name!r}")
    if expected.dtype != given.dtype:
        raise BadBundle(f"{role} {given.name!r}: the specification says {expected.dtype}, the model {given.dtype}")
    if not _shapes_fit(expected.shape, given.shape):
        raise BadBundle(
            f"{role} {given.name!r}: the specification says shape {expected.shape}, the model {given.shape}"
        )
    if batched and given.shape and given.shape[0] not in (-1, 1):
        raise BadBundle(f"{role} {given.name!r}: its batch axis is fixed at {given.shape[0]}; export with 1 or free")
    _check_quantisation(role, expected, given)


def _shapes_fit(expected: Sequence[int], given: Sequence[int]) -> bool:
    return len(expected) == len(given) and all(
        -1 in (wanted, found) or wanted == found for wanted, found in zip(expected, given, strict=True)
    )


def _check_quantisation(role: str, expected: TensorSpec, given: TensorInfo) -> None:
    if not expected.dtype.endswith("int8"):
        return
    wanted, found = expected.quantisation, given.quantisation
    if wanted is None:
        raise BadBundle(f"{role} {given.name!r} is {given.dtype}, and the specification gives no quantisation")
    if found is None:
        return  # ONNX files do not carry it beside the tensor
    same_scale = abs(wanted.scale - found.scale) <= SCALE_TOLERANCE_RATIO * found.scale
    if not same_scale or wanted.zero_point != found.zero_point:
        raise BadBundle(
            f"{role} {given.name!r}: the specification quantises with {wanted.scale} and {wanted.zero_point}, "
            f"the model with {found.scale} and {found.zero_point}"
        )


def query_shape(declared: Sequence[int], given: Sequence[int], natural: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the buffer's shape for one query: batch axis 1, free axes filled.

    Args:
        declared: The specification's shape, with its batch axis.
        given: The model's.
        natural: Shape of one query in the model's layout, which fills axes that both leave free.
    Raises:
        BadBundle: An axis stays free.
    """
    filled = [found if found > 0 else wanted for wanted, found in zip(declared[1:], given[1:], strict=True)]
    if len(natural) == len(filled):
        filled = [axis if axis > 0 else size for axis, size in zip(filled, natural, strict=True)]
    if any(axis <= 0 for axis in filled):
        raise BadBundle(f"input axes stay free in shape {tuple(declared)}: state them in the specification")
    return (1, *filled)
