#!/usr/bin/env bash
# Run a bundle with TensorRT on this machine's GPU: built once, found again, answers as the processor's, never fallen back.
#
#     tests/device/tensorrt.sh FOLDER      FOLDER: absent or empty; the engine that is built stays in FOLDER/cache
#
# Needs an NVIDIA GPU with its driver, TensorRT, and an environment with the vendor's onnxruntime-gpu, numpy, numba, onnx
# and this project's base packages. PYTHON names its interpreter (default: the clone's .venv). Nothing is installed.
set -euo pipefail

clone=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-$clone/.venv/bin/python}
folder=${1:?usage: tests/device/tensorrt.sh FOLDER}
export ORT_DISABLE_TELEMETRY=1 PYTHONPATH=$clone

mkdir -p "$folder"
cd "$folder"
echo "what ONNX Runtime can use here:"
"$python" -P -m agent.inference.engines.probe onnxruntime "$PWD/cache"
exec "$python" -P -m tests.device.tensorrt_run "$PWD"
