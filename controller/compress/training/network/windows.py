"""Operators that move a window over an input: convolutions, pools and padding, of one to three axes.

Decides: how ONNX writes pads (all beginnings, then all ends) and `auto_pad` become PyTorch's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import functional

from controller.convert.workers.frame import Unusable

if TYPE_CHECKING:
    from controller.compress.training.network.operators import Call

_CONV = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d, 3: functional.conv_transpose3d}
_MAX = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_AVERAGE = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def conv(call: Call) -> Tensor:
    x, weight = call.given[0], call.given[1]
    axes = x.dim() - 2
    strides, dilations = _each(call, "strides", axes), _each(call, "dilations", axes)
    x, padding = _padded(x, _pads(call, x, tuple(weight.shape[2:])), 0.0)
    return _CONV[axes](x, weight, call.input(2), strides, padding, dilations, call.get("group", 1))


def conv_transpose(call: Call) -> Tensor:
    x, weight = call.given[0], call.given[1]
    axes = x.dim() - 2
    pads = list(call.get("pads") or [0] * 2 * axes)
    if pads[:axes] != pads[axes:] or call.get("output_shape") or _auto(call) not in ("", "NOTSET"):
        raise Unusable("training goes through a ConvTranspose only where its pads are alike on both sides")
    more = _each(call, "output_padding", axes, 0)
    strides, dilations = _each(call, "strides", axes), _each(call, "dilations", axes)
    return _TRANSPOSE[axes](x, weight, call.input(2), strides, pads[:axes], more, call.get("group", 1), dilations)


def max_pool(call: Call) -> Tensor:
    x, kernel, axes = call.given[0], tuple(call.get("kernel_shape")), call.given[0].dim() - 2
    x, padding = _padded(x, _pads(call, x, kernel), float("-inf"), [side // 2 for side in kernel])
    ceiling = bool(call.get("ceil_mode", 0))
    return _MAX[axes](x, kernel, _each(call, "strides", axes), padding, _each(call, "dilations", axes), ceiling)


def average_pool(call: Call) -> Tensor:
    x, kernel, axes = call.given[0], tuple(call.get("kernel_shape")), call.given[0].dim() - 2
    pads = _pads(call, x, kernel)
    counted = bool(call.get("count_include_pad", 0)) or not any(pads)
    if pads[:axes] != pads[axes:] and not counted:
        raise Unusable("training goes through an AveragePool only where its pads are alike on both sides")
    x, padding = _padded(x, pads, 0.0, [side // 2 for side in kernel])
    ceiling = bool(call.get("ceil_mode", 0))
    return _AVERAGE[axes](x, kernel, _each(call, "strides", axes), padding, ceiling, counted)


def global_average(call: Call) -> Tensor:
    x = call.given[0]
    return x.mean(dim=tuple(range(2, x.dim())), keepdim=True)


def global_max(call: Call) -> Tensor:
    x = call.given[0]
    return x.amax(dim=tuple(range(2, x.dim())), keepdim=True)


def pad(call: Call) -> Tensor:
    """Constant, reflected or repeated edges."""
    x = call.given[0]
    pads = [int(each) for each in (call.given[1] if call.input(1) is not None else call.get("pads"))]
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}.get(_text(call.get("mode", "constant")))
    if mode is None or call.input(3) is not None:
        raise Unusable(f"training goes through no Pad of mode {_text(call.get('mode'))} or of chosen axes")
    value = float(call.input(2)) if call.input(2) is not None else float(call.get("value", 0.0))
    if mode == "constant":
        return functional.pad(x, _torch_pads(pads, x.dim()), value=value)
    return functional.pad(x, _torch_pads([*pads[2 : x.dim()], *pads[x.dim() + 2 :]], x.dim() - 2), mode=mode)


def _pads(call: Call, x: Tensor, kernel: tuple[int, ...]) -> list[int]:
    """Return pads as ONNX writes them: all beginnings, then all ends."""
    axes, auto = len(kernel), _auto(call)
    if auto in ("", "NOTSET"):
        return list(call.get("pads") or [0] * 2 * axes)
    if auto == "VALID":
        return [0] * 2 * axes
    strides, dilations = _each(call, "strides", axes), _each(call, "dilations", axes)
    total = []
    for axis, side in enumerate(kernel):
        length, step = x.shape[2 + axis], strides[axis]
        total.append(max(0, (-(-length // step) - 1) * step + (side - 1) * dilations[axis] + 1 - length))
    small, large = [each // 2 for each in total], [each - each // 2 for each in total]
    return [*small, *large] if auto == "SAME_UPPER" else [*large, *small]


def _padded(x: Tensor, pads: list[int], value: float, at_most: list[int] | None = None) -> tuple[Tensor, list[int]]:
    """Return the input and what is left for the operator to pad itself: pads that are alike on both sides.

    `at_most`: what PyTorch allows an operator to pad.
    """
    axes = len(pads) // 2
    small = at_most is None or all(each <= most for each, most in zip(pads[:axes], at_most, strict=True))
    if pads[:axes] == pads[axes:] and small:
        return x, pads[:axes]
    return functional.pad(x, _torch_pads(pads, axes), value=value), [0] * axes


def _torch_pads(pads: list[int], axes: int) -> list[int]:
    """Return pads of the last axis first, a beginning and an end each."""
    return [side for axis in reversed(range(axes)) for side in (pads[axis], pads[axes + axis])]


def _each(call: Call, name: str, axes: int, default: int = 1) -> list[int]:
    return list(call.get(name) or [default] * axes)


def _auto(call: Call) -> str:
    return _text(call.get("auto_pad", "NOTSET"))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
