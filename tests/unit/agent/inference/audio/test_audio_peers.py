"""The same features as the libraries that models are trained with: librosa and kaldi-native-fbank.

Those with librosa are long: it compiles for half a minute when it is first used.
"""

from collections.abc import Iterator
from typing import Any

import kaldi_native_fbank as kaldi
import numba
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.agent.inference.audio.audio_kit import features, specified, tone

Floats = NDArray[np.float32]
DB_TOLERANCE = 2e-3
"""Both work in float32: within 80 dB of the loudest bin the difference stays well below this [dB]."""
NATURAL_TOLERANCE = 2e-3
SPEECH = {"sample_rate_hz": 16_000, "window_length": 400, "hop_length": 160, "fft_length": 512}
MUSIC = {"sample_rate_hz": 22_050, "window_length": 2048, "hop_length": 512, "fft_length": 2048, "mel_bins": 128}
WHISPER = {**SPEECH, "fft_length": 400, "pad_mode": "reflect"}


@pytest.fixture(scope="module")
def librosa() -> Iterator[Any]:
    """librosa, which compiles much when it is first used: it keeps that in its own folder, not among our kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numba.config, "CACHE_DIR", "")
        import librosa as library

        library.feature.melspectrogram(y=np.zeros(4096, dtype=np.float32))
        yield library


def librosa_mel(librosa: Any, wave: Floats, keys: dict[str, Any], **more: Any) -> Floats:
    return np.asarray(
        librosa.feature.melspectrogram(
            y=wave,
            sr=keys["sample_rate_hz"],
            n_fft=keys["fft_length"],
            win_length=keys["window_length"],
            hop_length=keys["hop_length"],
            n_mels=keys.get("mel_bins", 80),
            pad_mode="reflect" if keys.get("pad_mode") == "reflect" else "constant",
            **more,
        )
    )


@pytest.mark.long
@pytest.mark.parametrize("keys", [SPEECH, MUSIC, WHISPER], ids=["speech", "music", "whisper"])
def test_log_mel_is_librosas(librosa: Any, keys: dict[str, Any]) -> None:
    wave = tone(20_000, keys["sample_rate_hz"])
    expected = librosa.power_to_db(librosa_mel(librosa, wave, keys))
    np.testing.assert_allclose(features(specified(samples=20_000, **keys), wave), expected, atol=DB_TOLERANCE)


@pytest.mark.long
def test_whispers_features_can_be_said(librosa: Any) -> None:
    """log10 of the energies, at most 8 below the largest, plus 4, divided by 4, without the last frame."""
    wave = tone(20_000)
    log_mel = np.log10(np.maximum(librosa_mel(librosa, wave, WHISPER)[:, :-1], 1e-10))
    expected = (np.maximum(log_mel, log_mel.max() - 8.0) + 4.0) / 4.0
    shift = {"method": "z_score", "statistics": "training", "mean": [-40.0] * 80, "deviation": [40.0] * 80}
    pre = specified(samples=20_000, drop_last=True, normalise=shift, **WHISPER)
    np.testing.assert_allclose(features(pre, wave), expected, atol=DB_TOLERANCE / 40)


@pytest.mark.long
def test_plain_triangles_of_the_htk_scale_are_librosas(librosa: Any) -> None:
    wave = tone(20_000)
    expected = librosa.power_to_db(librosa_mel(librosa, wave, SPEECH, htk=True, norm=None, fmin=50.0, fmax=7000.0))
    pre = specified(samples=20_000, mel_scale="htk", mel_norm="none", low_hz=50.0, high_hz=7000.0, **SPEECH)
    np.testing.assert_allclose(features(pre, wave), expected, atol=DB_TOLERANCE)


@pytest.mark.long
def test_power_is_librosas(librosa: Any) -> None:
    wave = tone(20_000)
    expected = np.abs(librosa.stft(wave, n_fft=512, win_length=400, hop_length=160, center=False)) ** 2
    pre = specified(samples=20_000, features="power", log="none", centre=False, **SPEECH)
    np.testing.assert_allclose(features(pre, wave), expected, rtol=1e-4, atol=1e-6 * expected.max())


@pytest.mark.long
@pytest.mark.parametrize("lifter", [0.0, 22.0])
def test_coefficients_are_librosas(librosa: Any, lifter: float) -> None:
    wave = tone(20_000)
    log_mel = librosa.power_to_db(librosa_mel(librosa, wave, SPEECH))
    expected = librosa.feature.mfcc(S=log_mel, n_mfcc=20, lifter=lifter)
    pre = specified(samples=20_000, features="mfcc", coefficients=20, lifter=lifter, **SPEECH)
    np.testing.assert_allclose(features(pre, wave), expected, atol=20 * DB_TOLERANCE)


def kaldi_rows(kind: str, wave: Floats, bins: int, **of_frames: Any) -> Floats:
    """Run kaldi-native-fbank without dither; return (frames, bins)."""
    options = kaldi.FbankOptions() if kind == "fbank" else kaldi.MfccOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = bins
    for name, value in of_frames.items():
        setattr(options.frame_opts, name, value)
    if kind == "mfcc":
        options.use_energy = False
    online = kaldi.OnlineFbank(options) if kind == "fbank" else kaldi.OnlineMfcc(options)
    online.accept_waveform(16_000, wave.tolist())
    online.input_finished()
    return np.stack([online.get_frame(frame) for frame in range(online.num_frames_ready)])


@pytest.mark.parametrize("full_scale", [1.0, 32_768.0])
@pytest.mark.parametrize("window", ["povey", "hamming"])
def test_filter_banks_are_kaldis(full_scale: float, window: str) -> None:
    wave = tone(20_000)
    expected = kaldi_rows("fbank", wave * np.float32(full_scale), 80, window_type=window)
    found = features(specified(samples=20_000, convention="kaldi", full_scale=full_scale, window=window), wave)
    assert found.shape == expected.shape == (123, 80)
    np.testing.assert_allclose(found, expected, atol=NATURAL_TOLERANCE)


def test_coefficients_are_kaldis() -> None:
    wave = tone(20_000)
    expected = kaldi_rows("mfcc", wave, 23)
    pre = specified(samples=20_000, convention="kaldi", features="mfcc", mel_bins=23, lifter=22.0)
    np.testing.assert_allclose(features(pre, wave), expected, atol=20 * NATURAL_TOLERANCE)
