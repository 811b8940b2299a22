"""What all tests share: telemetry off before ONNX Runtime can be imported, property tests without a stopwatch."""

import os

from hypothesis import HealthCheck, settings

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# No test asserts on wall time, and a machine of two cores is often busy. CI takes the same examples each time.
settings.register_profile(
    "house", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("house")
