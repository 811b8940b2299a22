"""Sound in numpy: frames, spectrum, mel bands, logarithm, coefficients, in float64."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.errors import UnusableData
from controller.models.preprocess.normalise import Array, normalised
from wire.spec import AudioPre
from wire.spec.audio import LOUDEST

Doubles = NDArray[np.float64]


def prepare_audio(pre: AudioPre, queries: NDArray[Any]) -> Array:
    """Return features for waveforms, in the model's layout.

    Args:
        queries: Shape (n, samples), (n, 1, samples) or (n, samples, 1).
    """
    waves = queries.reshape(len(queries), -1) if queries.ndim == 3 and 1 in queries.shape[1:] else queries
    if waves.ndim != 2 or not waves.shape[1]:
        raise UnusableData(f"waveforms of shape (n, {pre.samples}) are needed, got {queries.shape}")
    waves = _sized(_scaled(waves) * pre.full_scale, pre)
    if (np.abs(waves) > LOUDEST).any():
        raise UnusableData(f"a waveform holds samples beyond {LOUDEST:g}, which devices refuse")
    features = normalised(np.stack([features_of(pre, wave) for wave in waves]), pre.normalise)
    if pre.layout == "NTF":
        features = features.transpose(0, 2, 1)
    if len(pre.input.shape) == 4:
        features = features[:, np.newaxis]
    return np.ascontiguousarray(features, dtype=np.float32)


def features_of(pre: AudioPre, wave: Doubles) -> Doubles:
    """Return (bins, frames) of one scaled waveform."""
    frames = _kaldi_frames(pre, wave) if pre.convention == "kaldi" else _librosa_frames(pre, wave)
    values: Doubles = np.asarray(np.abs(np.fft.rfft(frames, n=pre.fft_length, axis=1)).T ** 2, dtype=np.float64)
    if pre.features != "power":
        values = np.asarray(mel_weights(pre) @ values, dtype=np.float64)
    if pre.log != "none":
        values = np.log(np.maximum(values, pre.floor))
    if pre.log == "db":
        values *= 10.0 / np.log(10.0)
        values = np.maximum(values, values.max() - pre.top_db) if pre.top_db else values
    return _cosines(pre) @ values if pre.features == "mfcc" else values


def mel_weights(pre: AudioPre) -> Doubles:
    """Return the triangles, shape (mel bins, frequencies)."""
    hz = np.asarray(np.arange(pre.fft_length // 2 + 1) * (pre.sample_rate_hz / pre.fft_length), dtype=np.float64)
    high_hz = pre.high_hz or pre.sample_rate_hz / 2
    to_mel, to_hz = (_htk, _htk_back) if pre.mel_scale == "htk" else (_slaney, _slaney_back)
    mels = np.linspace(to_mel(np.array(pre.low_hz)), to_mel(np.array(high_hz)), pre.mel_bins + 2)
    # Kaldi draws its triangles on the mel axis, librosa on that of frequency.
    axis, corners = (to_mel(hz), mels) if pre.convention == "kaldi" else (hz, to_hz(mels))
    rows = [np.interp(axis, corners[band : band + 3], [0.0, 1.0, 0.0], 0.0, 0.0) for band in range(pre.mel_bins)]
    if pre.mel_norm == "area":
        rows = [row * 2.0 / (corners[band + 2] - corners[band]) for band, row in enumerate(rows)]
    return np.stack(rows)


def _scaled(waves: NDArray[Any]) -> Doubles:
    """Bring integers to [-1, 1)."""
    name = waves.dtype.name
    if name == "uint8":
        return (waves.astype(np.float64) - 128.0) / 128.0
    if name in ("int16", "int32"):
        return waves.astype(np.float64) / -float(np.iinfo(waves.dtype).min)
    if waves.dtype.kind != "f":
        raise UnusableData(f"waveforms are float, int16, int32 or uint8, got {name}")
    if not np.isfinite(waves).all():
        raise UnusableData("a waveform holds NaN or infinite samples")
    return waves.astype(np.float64)


def _sized(waves: Doubles, pre: AudioPre) -> Doubles:
    missing = pre.samples - waves.shape[1]
    if missing and pre.resize == "error":
        raise UnusableData(f"waveforms of {pre.samples} samples are needed, got {waves.shape[1]}; or set resize: pad")
    return np.pad(waves, ((0, 0), (0, max(missing, 0))))[:, : pre.samples]


def _librosa_frames(pre: AudioPre, wave: Doubles) -> Doubles:
    if pre.centre:
        wave = np.pad(wave, pre.fft_length // 2, mode="reflect" if pre.pad_mode == "reflect" else "constant")
    window = np.zeros(pre.fft_length)
    lead = (pre.fft_length - pre.window_length) // 2
    window[lead : lead + pre.window_length] = _window(pre)
    return _cut(pre, wave, pre.fft_length) * window


def _kaldi_frames(pre: AudioPre, wave: Doubles) -> Doubles:
    frames = _cut(pre, wave, pre.window_length)
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    return np.asarray((frames - pre.pre_emphasis * before) * _window(pre))


def _cut(pre: AudioPre, wave: Doubles, length: int) -> Doubles:
    return np.lib.stride_tricks.sliding_window_view(wave, length)[:: pre.hop_length][: pre.frames]


def _window(pre: AudioPre) -> Doubles:
    """Return it periodic for librosa, symmetric for Kaldi."""
    points = pre.window_length if pre.convention == "kaldi" else pre.window_length + 1
    if pre.window == "hamming":
        return np.hamming(points)[: pre.window_length]
    hann = np.maximum(np.hanning(points)[: pre.window_length], 0.0)
    return hann**0.85 if pre.window == "povey" else hann


def _htk(hz: Doubles) -> Doubles:
    return 2595.0 * np.log10(1.0 + hz / 700.0)


def _htk_back(mel: Doubles) -> Doubles:
    return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))


def _slaney(hz: Doubles) -> Doubles:
    """Linear below 1 kHz, 15 mels there; 27 mels for each factor of 6.4 above it."""
    return np.where(hz < 1000.0, hz * 3.0 / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1.0) / 1000.0) / np.log(6.4))


def _slaney_back(mel: Doubles) -> Doubles:
    return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * 6.4 ** ((mel - 15.0) / 27.0))


def _cosines(pre: AudioPre) -> Doubles:
    number, band = np.meshgrid(np.arange(pre.coefficients), np.arange(pre.mel_bins), indexing="ij")
    matrix: Doubles = np.cos(np.pi * number * (2 * band + 1) / (2 * pre.mel_bins)) * np.sqrt(2.0 / pre.mel_bins)
    matrix[0] /= np.sqrt(2.0)
    if pre.lifter:
        counted = number + (1 if pre.convention == "librosa" else 0)
        matrix = matrix * (1.0 + pre.lifter / 2.0 * np.sin(np.pi * counted / pre.lifter))
    return matrix
