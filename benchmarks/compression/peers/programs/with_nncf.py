"""NNCF's post-training quantisation of an ONNX model.

Setting: `arguments` of `nncf.quantize`, the preset by name; `ranges`, one of its sets of range estimators by name.
"""

import sys

from benchmarks.compression.peers.programs.frame import Order, carry_out, samples


def compress(order: Order) -> None:
    """Write the quantised model."""
    import nncf
    import onnx
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    queries, name = samples(order), order["input"]
    given = dict(order["setting"]["arguments"])
    if "preset" in given:
        given["preset"] = nncf.QuantizationPreset[given["preset"]]
    if "ranges" in order["setting"]:
        ranges = getattr(RangeEstimatorParametersSet, order["setting"]["ranges"])
        given["advanced_parameters"] = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges)
    dataset = nncf.Dataset([query[None] for query in queries], lambda query: {name: query})
    made = nncf.quantize(onnx.load(order["source"]), dataset, subset_size=len(queries), **given)
    onnx.save(made, order["out"])


if __name__ == "__main__":
    sys.exit(carry_out(compress))
