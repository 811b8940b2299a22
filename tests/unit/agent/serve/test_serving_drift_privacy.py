"""Nothing of what a text says, or a sound, can be read back from what stands for the inputs."""

import numpy as np

from agent.serve.drift import summarised


def test_the_bytes_of_a_text_stay_on_the_device() -> None:
    assert list(summarised(np.frombuffer(b"secret password", np.uint8))) == [("bytes", 15.0)]


def test_a_waveform_is_no_row_of_features() -> None:
    names = [name for name, _ in summarised(np.linspace(-1, 1, 4000, dtype=np.float32))]
    assert names == ["mean", "deviation", "smallest", "largest"]
