"""ai-edge-quantizer on a float TFLite file. Setting: `recipe`, the name of one of its recipes."""

import sys
from pathlib import Path

from benchmarks.compression.peers.programs.frame import Order, carry_out, samples


def compress(order: Order) -> None:
    """Write the quantised model."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    maker = quantizer.Quantizer(order["source"], getattr(recipe, order["setting"]["recipe"])())
    ranges = None
    if maker.need_calibration:
        signatures = Interpreter(model_path=order["source"]).get_signature_list()
        name, ends = next(iter(signatures.items()))
        ranges = maker.calibrate({name: [{ends["inputs"][0]: query[None]} for query in samples(order)]})
    Path(order["out"]).write_bytes(bytes(maker.quantize(ranges).quantized_model))


if __name__ == "__main__":
    sys.exit(carry_out(compress))
