"""Rounding that gradients pass, by hand-computed cases, and QDQ graphs that are trained as they are."""

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from controller.compress.training.network.graph import Network  # noqa: E402
from controller.compress.training.network.quantised import Levels, integers, quantised  # noqa: E402
from tests.unit.controller.compress.training.conftest import answers, small_convolution, waves  # noqa: E402

U8 = Levels(0, 255)


def test_values_are_rounded_and_clipped() -> None:
    x, scale, zero = torch.tensor([-1.0, 0.24, 0.26, 200.0]), torch.tensor(0.5), torch.tensor(1, dtype=torch.uint8)
    assert quantised(x, scale, zero, U8).tolist() == [-0.5, 0.0, 0.5, 127.0]
    assert integers(x, scale, zero, U8).tolist() == [0, 1, 2, 255]


def test_gradients_pass_inside_the_range_and_stop_outside() -> None:
    x = torch.tensor([-1.0, 0.3, 200.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    quantised(x, scale, torch.tensor(0, dtype=torch.uint8), U8).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 1.0, 0.0]
    # Esser et al. 2020, equation 3: round(x/s) - x/s inside (1 - 0.6), the limits outside (0 and 255).
    assert float(scale.grad) == pytest.approx(0.4 + 0 + 255)


def test_scales_go_with_their_axis() -> None:
    x = torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    found = quantised(x, torch.tensor([0.4, 0.3]), torch.tensor([0, 0], dtype=torch.int8), Levels(-128, 127, 0))
    assert torch.allclose(found, torch.tensor([[0.8, 0.8], [0.9, 0.9]]))


@pytest.mark.parametrize("types", ["u8s8", "u8u8", "s8s8"])
def test_a_quantised_graph_computes_what_the_engine_computes_before_and_after(
    types: str, tmp_path: Path, random: np.random.Generator
) -> None:
    x, _ = waves(random, 30)
    model = quantised_file(small_convolution(random), x, types, tmp_path)
    network = Network(model).eval()
    with torch.no_grad():
        assert np.array_equal(network(torch.from_numpy(x))[0].numpy(), answers(model, x))
        for each in network.weights.values():
            each.add_(0.01 * torch.randn(each.shape, generator=torch.Generator().manual_seed(1)))
        expected = network(torch.from_numpy(x))[0].numpy()
    given = answers(network.written(), x)
    assert not np.array_equal(given, answers(model, x))
    # Biases are stored in steps of the product of two scales, and only a value on an edge may round the other way.
    assert np.abs(given - expected).mean() < 0.01 * np.abs(expected).mean()


def quantised_file(model: onnx.ModelProto, x: np.ndarray, types: str, folder: Path) -> onnx.ModelProto:  # type: ignore[type-arg, unused-ignore]
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.left = iter([{"x": row[None]} for row in x])

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[type-arg, unused-ignore]
            return next(self.left, None)

    named = {"u8": QuantType.QUInt8, "s8": QuantType.QInt8}
    onnx.save(model, folder / "float.onnx")
    quantize_static(
        str(folder / "float.onnx"), str(folder / "int8.onnx"), Reader(),
        activation_type=named[types[:2]], weight_type=named[types[2:]], per_channel=True,
    )  # fmt: skip
    return onnx.load(folder / "int8.onnx")
