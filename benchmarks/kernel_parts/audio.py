"""Audio features against librosa and kaldi-native-fbank, single thread.

Decides: what is compared. Ours is the whole `prepare` of a query: checks, features, cast into the model's input. The
peers stop at their features, librosa with its filters made anew in each call (as its functions do) and, in claims of
their own, with filters that were prepared. From the time of kaldi-native-fbank its reading of a Python list is taken
off; fetching its frames is not counted.
"""

import importlib.util
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Claim, not_measured
from benchmarks.kernel_parts.timing import Call, Profile, held, interleaved, timed
from wire import spec

Floats = NDArray[np.float32]

LIBROSA_GOAL, KALDI_GOAL = 3.0, 1.0
DB_RANGE = 60.0
"""Differences are told for bins within this range of the loudest; below it both are float32's noise [dB]."""


@dataclass(frozen=True)
class Setting:
    """Features that are in use, and the names that librosa has for their keys."""

    name: str
    rate_hz: int
    keys: dict[str, Any] = field(default_factory=dict)

    def pre(self, samples: int, **more: Any) -> spec.AudioPre:
        tensor = {"name": "x", "shape": (-1, -1, -1)}
        given = {"samples": samples, "sample_rate_hz": self.rate_hz, "input": tensor, **self.keys, **more}
        return spec.AudioPre.model_validate(given)


SETTINGS = (
    Setting(
        "librosa's defaults", 22_050, {"window_length": 2048, "hop_length": 512, "fft_length": 2048, "mel_bins": 128}
    ),
    Setting("speech", 16_000),
    Setting("Whisper's", 16_000, {"fft_length": 400, "pad_mode": "reflect"}),
)


def claims(quick: bool) -> list[Claim]:
    """Return the claims; peers that are not installed leave theirs unmeasured."""
    rounds = 3 if quick else 15
    found: list[Claim] = []
    for setting in SETTINGS:
        for duration_s in (1, 10):
            found += against_librosa(setting, duration_s, rounds)
    return found + [against_kaldi(duration_s, rounds) for duration_s in (1, 10)]


def against_librosa(setting: Setting, duration_s: int, rounds: int) -> list[Claim]:
    """Return two claims: librosa as it is called, and with its filters prepared."""
    names = [
        f"log-mel, {setting.name}, {duration_s} s, against librosa{more}" for more in ("", " with filters prepared")
    ]
    if importlib.util.find_spec("librosa") is None:
        return [not_measured(name, "x", f">= {LIBROSA_GOAL:g}", "librosa is not installed") for name in names]
    pre = setting.pre(duration_s * setting.rate_hz)
    wave = sound(pre)
    ours, (whole, prepared) = prepared_call(pre, wave), librosa_calls(pre, wave)
    calls = (ours, whole, prepared, transforms_alone(pre, wave))
    ours_s, *peers_s, transforms_s = interleaved([timed(call) for call in calls], rounds)
    differ = f"results differ by at most {largest_difference_db(ours()[0], whole()):.1e} dB"
    profile = Profile({"all": ours_s}, {"scipy's transforms alone": transforms_s})
    return [
        held(name, (ours_s, peer_s), LIBROSA_GOAL, differ, profile) for name, peer_s in zip(names, peers_s, strict=True)
    ]


def against_kaldi(duration_s: int, rounds: int) -> Claim:
    """Return the claim on Kaldi's filter banks: 25 ms every 10 ms, 80 bins."""
    name = f"filter banks, {duration_s} s, against kaldi-native-fbank"
    if importlib.util.find_spec("kaldi_native_fbank") is None:
        return not_measured(name, "x", f">= {KALDI_GOAL:g}", "kaldi-native-fbank is not installed")
    pre = SETTINGS[1].pre(duration_s * 16_000, convention="kaldi")
    wave = sound(pre)
    ours, (whole, reading) = prepared_call(pre, wave), kaldi_calls(wave)
    calls = (ours, whole, reading, transforms_alone(pre, wave))
    ours_s, whole_s, reading_s, transforms_s = interleaved([timed(call) for call in calls], rounds)
    online = whole()
    frames = np.stack([online.get_frame(frame) for frame in range(online.num_frames_ready)])
    differ = f"results differ by at most {float(np.abs(ours()[0] - frames).max()):.1e} nepers"
    differ += f"; {reading_s * 1e3:.3f} ms of reading a list are taken off the peer's time already"
    profile = Profile({"all": ours_s}, {"scipy's transforms alone": transforms_s})
    return held(name, (ours_s, whole_s - reading_s), KALDI_GOAL, differ, profile)


def sound(pre: spec.AudioPre) -> Floats:
    """Return a rising tone in noise."""
    time_s = np.arange(pre.samples) / pre.sample_rate_hz
    noise = np.random.default_rng(1).normal(size=pre.samples) * 0.05
    return np.asarray(0.3 * np.sin(2 * np.pi * (100 + 300 * time_s) * time_s) + noise, dtype=np.float32)


def prepared_call(pre: spec.AudioPre, wave: Floats) -> Call:
    """Return the call that brings `wave` into the model's input, as a worker does."""
    from agent.inference.pre import Place, make_pre

    made = make_pre(pre, Place({"x": (-1, -1, -1)}))
    return lambda: made.prepare(wave)


def transforms_alone(pre: spec.AudioPre, wave: Floats) -> Call:
    """Return what transforms as many frames as there are, of their length, and does nothing else."""
    import scipy.fft

    frames = np.resize(wave, (1 + len(wave) // pre.hop_length, pre.fft_length))
    return lambda: scipy.fft.rfft(frames, axis=1, workers=1)


def librosa_calls(pre: spec.AudioPre, wave: Floats) -> tuple[Call, Call]:
    """Return librosa's features as its function gives them, and from filters that were made before."""
    import librosa

    keys: dict[str, Any] = {
        "n_fft": pre.fft_length,
        "win_length": pre.window_length,
        "hop_length": pre.hop_length,
        "pad_mode": "reflect" if pre.pad_mode == "reflect" else "constant",
    }
    filters = librosa.filters.mel(sr=pre.sample_rate_hz, n_fft=pre.fft_length, n_mels=pre.mel_bins)

    def whole() -> Any:
        mel = librosa.feature.melspectrogram(y=wave, sr=pre.sample_rate_hz, n_mels=pre.mel_bins, **keys)
        return librosa.power_to_db(mel)

    def prepared() -> Any:
        return librosa.power_to_db(filters @ np.abs(librosa.stft(wave, **keys)) ** 2)

    return whole, prepared


def kaldi_calls(wave: Floats) -> tuple[Call, Call]:
    """Return the filter banks of `wave`, and its reading alone; a list is what the library reads fastest."""
    import kaldi_native_fbank as kaldi

    options, samples = kaldi.FbankOptions(), wave.tolist()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80

    def whole() -> Any:
        online = kaldi.OnlineFbank(options)
        online.accept_waveform(16_000, samples)
        online.input_finished()
        return online

    def reading() -> Any:
        online = kaldi.OnlineRawAudioSamples(kaldi.RawAudioSamplesOptions())
        online.accept_waveform(16_000, samples)
        return online

    return whole, reading


def largest_difference_db(ours: Any, theirs: Any) -> float:
    """Return the largest difference among bins within `DB_RANGE` of the loudest."""
    loud = theirs >= theirs.max() - DB_RANGE
    return float(np.abs(ours - theirs)[loud].max())
