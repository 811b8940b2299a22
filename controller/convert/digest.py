"""One digest for what a model file computes."""

from pathlib import Path

from controller.convert.onnx_io import canonical_digest, parse_onnx
from wire.canonical import sha256_hex


def model_digest(form: str, path: Path) -> str:
    """Return the digest of a model file; for ONNX, notes in the file and the order of its weights do not count.

    Raises:
        UnusableModel: Not a file of that format.
    """
    return canonical_digest(parse_onnx(path)) if form == "onnx" else sha256_hex(path.read_bytes())
