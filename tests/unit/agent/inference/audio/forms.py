"""Made-up arguments of the audio kernels, for holding their compiled forms against the Python source."""

from collections.abc import Callable
from typing import Any

import numpy as np

from agent.inference.kernels.audio import tables
from agent.inference.kernels.audio.bands import SPARE
from agent.inference.kernels.audio.lanes import LANES
from wire import spec

HOP, BANDS = 3, 5


def settings(frames: int, length: int) -> spec.AudioPre:
    """Return a small specification; an odd number of frames takes Kaldi's way."""
    return spec.AudioPre(
        samples=64 + HOP * frames,
        window_length=length - 5,
        fft_length=length,
        hop_length=HOP,
        mel_bins=BANDS,
        convention="kaldi" if frames % 2 else "librosa",
        input=spec.TensorSpec(name="x", shape=(-1, -1, -1)),
    )


def start(pre: spec.AudioPre, frames: int, seed: int) -> list[Any]:
    """Waveform, window, steps."""
    wave = np.random.default_rng(seed).normal(size=(frames + LANES) * HOP + pre.fft_length).astype(np.float32)
    return [wave, tables.window_of(pre), np.array([HOP, 0 if frames % 2 else 2, frames % 2, 0, LANES])]


def finish(pre: spec.AudioPre, frames: int) -> list[Any]:
    """Power, runs, weights, bands, numbers, result."""
    power = np.zeros((pre.fft_length // 2 + 1 + SPARE) * LANES, dtype=np.float32)
    runs, weights, count = tables.bands_of(pre)
    bands, numbers = np.zeros(count * LANES, dtype=np.float32), np.array([0.97, 1e-6, 1.5], dtype=np.float32)
    return [power, runs, weights, bands, numbers, np.zeros(count * frames)]


def whole(frames: int, seed: int) -> list[Any]:
    """Lengths that take every radix: 64 = 2 (2 4 4), 30 = 2 (5 3), 32 = 2 (4 4)."""
    pre = settings(frames, {1: 64, 5: 30}.get(frames, 32))
    rows = pre.fft_length // 2
    transform = [tables.factors_of(rows), tables.turns_of(rows), tables.order_of(rows)]
    data = np.zeros(pre.fft_length * LANES, dtype=np.float32)
    return [*start(pre, frames, seed), *transform, data, *finish(pre, frames)]


def framed(frames: int, seed: int) -> list[Any]:
    pre = settings(frames, 20)
    power, *_, numbers, _ = finish(pre, frames)
    return [*start(pre, frames, seed), numbers, np.ones(pre.fft_length * LANES, dtype=np.float32), power]


def summed(frames: int, seed: int) -> list[Any]:
    pre = settings(frames, 20)
    places = tables.power_row(pre.fft_length // 2 + 1)
    spectra = np.random.default_rng(seed).normal(size=places.size * LANES * 2).astype(np.float32)
    return [spectra, places, start(pre, frames, seed)[2], *finish(pre, frames)]


def transformed(frames: int, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    return [random.normal(size=(3, BANDS)), random.normal(size=(BANDS, frames)), np.zeros((3, frames))]


MADE: dict[str, Callable[[int, int], list[Any]]] = {
    "audio_features": whole,
    "audio_frames": framed,
    "audio_bands": summed,
    "audio_cosines": transformed,
}
"""Kernel -> (points, seed) -> arguments that fit together."""
