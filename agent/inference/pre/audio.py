"""Sound: a waveform with its margins, frames, bands, then one pass that normalises, casts and lays out.

Decides: which waveforms are taken, and which transform runs: our own where a length has no factors but two, three and
five, else numpy's.
Leaves out: the arithmetic (`agent/inference/kernels/audio/`).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.errors import BadBundle, BadQuery
from agent.inference.kernels.audio import features, tables
from agent.inference.kernels.audio.bands import SPARE
from agent.inference.kernels.audio.lanes import LANES
from agent.inference.kernels.compiled import Kernel
from agent.inference.pre.base import Array, Buffer, Doubles, Place
from agent.inference.pre.statistics import Statistics
from agent.inference.shapes import query_shape
from wire import spec
from wire.spec.audio import INTEGERS, LOUDEST

LARGEST_OWN = 16_384
"""Longest transform of our own: sixteen longer frames leave the caches."""
LEAST_FLOOR = 1e-37
"""The logarithm takes normal float32 numbers only."""
FULL_SCALE = {"int16": (0, 2.0**15), "int32": (0, 2.0**31), "uint8": (128, 2.0**7)}
"""Integer dtype -> what silence is, and what 1 is."""
AT = 3
"""Where `steps` holds the first frame of a block."""

Arrays = tuple[NDArray[Any], ...]
Work = tuple[Callable[[], None], tuple[Kernel[..., Any], ...]]


class Audio:
    geometry: Doubles | None = None

    def __init__(self, pre: spec.AudioPre, place: Place) -> None:
        shape, strides = _laid_out(pre, place)
        self._pre = pre
        self._chain = Chain(pre)
        self._statistics = Statistics(pre.normalise, self._chain.values)
        normal = self._statistics.normal
        self._buffer = Buffer(pre.input, place.buffer(pre.input, shape), strides, self._chain.values, normal)
        self.feeds: tuple[Array, ...] = (self._buffer.array,)
        self.kernels: tuple[Kernel[..., Any], ...] = (*self._chain.kernels, *self._statistics.kernels)
        # Features are finite, since waveforms are bounded: as plain numbers they need no more than a copy.
        self._plain = isinstance(pre.normalise, spec.NoNormalisation) and pre.input.dtype == "float32"
        self._rows: Any = self._buffer.array.reshape((pre.bins, -1) if pre.layout == "NFT" else (-1, pre.bins))
        if pre.layout == "NTF":
            self._rows = self._rows.T
        if not self._plain:
            self.kernels = (*self.kernels, self._buffer.kernel)

    def prepare(self, query: NDArray[Any]) -> Array:
        self._take(self._samples(query))
        self._chain.run()
        if self._plain:
            np.copyto(self._rows, self._chain.values, casting="same_kind")
            return self._buffer.array
        self._statistics.update()
        return self._buffer.write()

    def _samples(self, query: NDArray[Any]) -> NDArray[Any]:
        """Return the waveform of `query`, of one axis; refuse what is none, or of another length."""
        pre = self._pre
        if query.ndim == 2 and 1 not in query.shape and query.size:
            raise BadQuery(f"expected one channel, given shape {query.shape}: mix the channels down, or pick one")
        wave = query.reshape(-1) if query.ndim == 2 and 1 in query.shape else query
        if wave.ndim != 1 or not wave.size or (wave.size != pre.samples and pre.resize == "error"):
            length = f"{pre.samples} samples" if pre.resize == "error" else "at least one sample"
            raise BadQuery(f"expected a waveform of {length} at {pre.sample_rate_hz} Hz, given shape {query.shape}")
        if wave.dtype.kind != "f" and wave.dtype.name not in INTEGERS:
            raise BadQuery(f"expected float, {', '.join(INTEGERS)} samples, given dtype {wave.dtype}")
        return wave[: pre.samples]

    def _take(self, wave: NDArray[Any]) -> None:
        inside = self._chain.inside
        rest = inside[: wave.size]
        silence, one = FULL_SCALE.get(wave.dtype.name, (0, 1.0))
        factor = np.float32(self._pre.full_scale / one)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            if factor == 1:
                np.copyto(rest, wave, casting="unsafe")
            else:
                np.multiply(wave, factor, out=rest, casting="unsafe")
        if silence:
            rest -= silence * factor
        inside[wave.size :] = 0
        if not max(rest.max(), -rest.min()) <= LOUDEST:
            bad = rest.size - int(np.count_nonzero(np.abs(rest) <= LOUDEST))
            raise BadQuery(f"{bad} samples are not finite, or beyond {LOUDEST:g}: expected a waveform within [-1, 1]")
        self._chain.reflect()


class Chain:
    """The kernels from a waveform to the values that are normalised, and the buffers between them."""

    def __init__(self, pre: spec.AudioPre) -> None:
        self._pre = pre
        self._wave = np.zeros(_wave_length(pre), dtype=np.float32)
        self.inside = self._wave[pre.margin : pre.margin + pre.samples]
        prepared = int(pre.convention == "kaldi")
        self._steps = np.array([pre.hop_length, _lead(pre), prepared, 0, LANES], dtype=np.int64)
        runs, weights, count = tables.bands_of(pre)
        self._bands = np.zeros((count, pre.frames))
        power = np.zeros((pre.fft_length // 2 + 1 + SPARE) * LANES, dtype=np.float32)
        rows = np.zeros(count * LANES, dtype=np.float32)
        numbers = np.array([pre.pre_emphasis, max(pre.floor, LEAST_FLOOR), _factor(pre)], dtype=np.float32)
        finish = (power, runs, weights, rows, numbers, self._bands.reshape(-1))
        start = (self._wave, tables.window_of(pre), self._steps)
        self._run, self.kernels = self._whole(start, finish) if _own(pre) else self._parted(start, finish)
        self.values = self._bands
        self._cosines: Callable[[], None] | None = None
        if pre.features == "mfcc":
            self.values = np.zeros((pre.coefficients, pre.frames))
            self._cosines = features.audio_cosines.bind(tables.cosines_of(pre), self._bands, self.values)
            self.kernels = (*self.kernels, features.audio_cosines)

    def reflect(self) -> None:
        """Fill the margins with the waveform's mirror image, where the specification says so."""
        margin = self._pre.margin
        if self._pre.pad_mode == "reflect" and margin:
            self._wave[:margin] = self.inside[margin:0:-1]
            end = margin + self._pre.samples
            self._wave[end : end + margin] = self.inside[-2 : -margin - 2 : -1]

    def run(self) -> None:
        self._run()
        if self._pre.log == "db" and self._pre.top_db > 0:
            np.maximum(self._bands, self._bands.max() - self._pre.top_db, out=self._bands)
        if self._cosines is not None:
            self._cosines()

    def _whole(self, start: Arrays, finish: Arrays) -> Work:
        """Return one kernel from the waveform to the bands."""
        rows = self._pre.fft_length // 2
        transform = (tables.factors_of(rows), tables.turns_of(rows), tables.order_of(rows))
        data = np.zeros(self._pre.fft_length * LANES, dtype=np.float32)
        kernel: Any = features.audio_features
        return kernel.bind(*start, *transform, data, *finish), (kernel,)

    def _parted(self, start: Arrays, finish: Arrays) -> Work:
        """Return two kernels with numpy's transform between them, sixteen frames at a time."""
        length, (power, *_, numbers, _) = self._pre.fft_length, finish
        data = np.zeros((length, LANES), dtype=np.float32)
        spectra = np.zeros((length // 2 + 1, LANES), dtype=np.complex64)
        places, flat = tables.power_row(len(spectra)), spectra.view(np.float32).reshape(-1)
        first_kernel: Any = features.audio_frames
        second_kernel: Any = features.audio_bands
        take = first_kernel.bind(*start, numbers, data.reshape(-1), power)
        put = second_kernel.bind(flat, places, self._steps, *finish)
        out: Any = spectra  # of single precision, as the frames; the published types know double only

        def run() -> None:
            for first in range(0, self._pre.frames, LANES):
                self._steps[AT] = first
                take()
                np.fft.rfft(data, axis=0, out=out)
                put()

        return run, (first_kernel, second_kernel)


def _laid_out(pre: spec.AudioPre, place: Place) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return the shape of the model's input, and its elements from bin to bin and from frame to frame."""
    natural = (pre.bins, pre.frames) if pre.layout == "NFT" else (pre.frames, pre.bins)
    given = place.shape(pre.input)
    channel = (1,) if len(given) == len(natural) + 2 else ()
    shape = query_shape(pre.input.shape, given, (*channel, *natural))
    if [axis for axis in shape if axis != 1] != [axis for axis in natural if axis != 1]:
        raise BadBundle(
            f"{pre.samples} samples make {pre.frames} frames of {pre.bins} bins, {pre.layout} {natural}: "
            f"expected such an input, given {shape}"
        )
    return shape, ((pre.frames, 1) if pre.layout == "NFT" else (1, pre.bins))


def _own(pre: spec.AudioPre) -> bool:
    """Return whether our own transform takes the length: even, not too long, no factors but two, three and five."""
    length = pre.fft_length
    return length <= LARGEST_OWN and length % 2 == 0 and (length == 2 or bool(tables.radices_of(length // 2)))


def _lead(pre: spec.AudioPre) -> int:
    """Return the zeros before the window: librosa centres it in the transform, Kaldi begins with it."""
    return 0 if pre.convention == "kaldi" else (pre.fft_length - pre.window_length) // 2


def _wave_length(pre: spec.AudioPre) -> int:
    """Return the samples that whole blocks of frames read, and at least the waveform with its margins."""
    blocks = -(-pre.frames // LANES)
    return max(pre.samples + 2 * pre.margin, (blocks * LANES - 1) * pre.hop_length + pre.frame_length)


def _factor(pre: spec.AudioPre) -> float:
    """Return what a natural logarithm is multiplied by; 0: none is taken."""
    return {"db": 10.0 / math.log(10.0), "natural": 1.0, "none": 0.0}[pre.log]
