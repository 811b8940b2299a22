"""Sound: from samples of a waveform to the features that a model hears.

Two conventions are in use and differ in the mel scale, the window, the frames' places and the logarithm; a model must
be served with the one that it was trained on.
"""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import LARGEST_VALUES, TensorSpec, check_real
from wire.spec.normalise import NoNormalisation, Normalise

KALDI: dict[str, Any] = {
    "window": "povey",
    "centre": False,
    "mel_scale": "htk",
    "mel_norm": "none",
    "low_hz": 20.0,
    "log": "natural",
    "floor": 2.0**-23,
    "layout": "NTF",
}
"""What a key that is left out means under `convention: kaldi`, where Kaldi's own default differs from librosa's."""

LOUDEST = 1e12
"""Largest sample that is taken, after `full_scale`: beyond it the power of a frame may leave float32's range."""
INTEGERS = ("int16", "int32", "uint8")
"""Whole numbers that samples may come as."""


class AudioPre(Message, allow_inf_nan=False):
    """A waveform -> features (frames, bins), normalised, cast, laid out, quantised.

    A query has the shape (samples,), (1, samples) or (samples, 1). Integers are brought to [-1, 1): int16 and int32
    divided by their full scale, uint8 less 128 and divided by 128; other integers are refused. Floats are taken as they
    are. Both are multiplied by `full_scale`: 1 for models that were trained on [-1, 1), 32768 for those trained on
    Kaldi's own features, which are taken from 16-bit numbers. Beyond 1e12 (`LOUDEST`) a sample is refused then.
    `resize`: `error` refuses another number of samples, `pad` fills up with zeros or cuts the end.

    `convention: librosa`: frames of `fft_length`, centred with `pad_mode` padding; a window of `window_length` in their
    middle, periodic; triangles of the mel scale straight in Hz, the Slaney scale and its area normalisation by default;
    power spectrum; `log`: `db` (10 log10(max(x, floor)), then at most `top_db` below the maximum), `natural`
    (ln(max(x, floor))) or `none`. `convention: kaldi`: frames of `window_length` snipped at the edges (`centre` is not
    looked at), mean removed, pre-emphasis, symmetric window, zeros up to `fft_length`; triangles straight in the HTK
    mel scale; no dither and no energy in place of a coefficient. Keys that are left out then mean: window povey, low_hz
    20, log natural, floor 2^-23, layout NTF. MFCC take an orthonormal DCT-II of the log-mel energies.
    """

    kind: Literal["audio"] = "audio"
    sample_rate_hz: int = Field(default=16_000, ge=1000, le=192_000)
    samples: int = Field(ge=1, le=10_000_000)
    full_scale: float = Field(default=1.0, gt=0, le=2.0**31)
    """What the loudest sample counts as."""
    resize: Literal["error", "pad"] = "error"
    convention: Literal["librosa", "kaldi"] = "librosa"
    features: Literal["power", "mel", "mfcc"] = "mel"
    window: Literal["hann", "hamming", "povey"] = "hann"
    window_length: int = Field(default=400, ge=2, le=65_536)
    hop_length: int = Field(default=160, ge=1, le=65_536)
    fft_length: int = Field(default=512, ge=2, le=65_536)
    """Even lengths without factors but 2, 3 and 5 are fastest."""
    centre: bool = True
    pad_mode: Literal["zero", "reflect"] = "zero"
    drop_last: bool = False
    """Leave out the last frame, as Whisper does."""
    pre_emphasis: float = Field(default=0.97, ge=0, lt=1)
    """Of Kaldi; librosa has none."""
    mel_bins: int = Field(default=80, ge=1, le=1024)
    mel_scale: Literal["slaney", "htk"] = "slaney"
    mel_norm: Literal["area", "none"] = "area"
    """`area`: each triangle divided by half its width in Hz."""
    low_hz: float = Field(default=0.0, ge=0)
    high_hz: float | None = Field(default=None, gt=0)
    """Null: half the sample rate."""
    log: Literal["db", "natural", "none"] = "db"
    floor: float = Field(default=1e-10, gt=0, le=1e30)
    """Least energy; below 1e-37 it counts as 1e-37."""
    top_db: float = Field(default=80.0, ge=0)
    """Of `log: db`; 0: no limit."""
    coefficients: int = Field(default=13, ge=1, le=1024)
    """Of MFCC."""
    lifter: float = Field(default=0.0, ge=0, le=1e6)
    """Of MFCC: 0 leaves them, 22 is Kaldi's own."""
    normalise: Normalise = NoNormalisation()
    """Per bin, over the frames."""
    layout: Literal["NFT", "NTF"] = "NFT"
    """Bins before frames (as librosa gives them), or frames before bins (as Kaldi does)."""
    input: TensorSpec

    @property
    def frame_length(self) -> int:
        """Samples that one frame spans."""
        return self.window_length if self.convention == "kaldi" else self.fft_length

    @property
    def margin(self) -> int:
        """Samples that padding puts at each end."""
        return self.fft_length // 2 if self.convention == "librosa" and self.centre else 0

    @property
    def frames(self) -> int:
        """Frames of a waveform of `samples`."""
        room = self.samples + 2 * self.margin - self.frame_length
        return (room // self.hop_length + 1 if room >= 0 else 0) - self.drop_last

    @property
    def bins(self) -> int:
        """Numbers per frame."""
        return {"power": self.fft_length // 2 + 1, "mel": self.mel_bins, "mfcc": self.coefficients}[self.features]

    @property
    def kept(self) -> int:
        """Numbers per frame that are kept together: MFCC are made of all mel bins, which stay beside them."""
        return self.bins + self.mel_bins if self.features == "mfcc" else self.bins

    @model_validator(mode="before")
    @classmethod
    def _kaldi_has_its_own_defaults(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("convention") == "kaldi":
            return {**KALDI, **given}
        return given

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        half = self.sample_rate_hz / 2
        if self.fft_length < self.window_length:
            raise ValueError(f"fft_length ({self.fft_length}) is shorter than window_length ({self.window_length})")
        if (self.high_hz or half) > half or self.low_hz + 1 > (self.high_hz or half):
            raise ValueError(f"low_hz + 1 <= high_hz <= {half:g} must hold")
        if self.features == "mfcc" and self.coefficients > self.mel_bins:
            raise ValueError(f"{self.coefficients} coefficients of {self.mel_bins} mel bins")
        return self

    @model_validator(mode="after")
    def _convention_holds(self) -> Self:
        if self.convention == "kaldi" and (self.mel_scale, self.mel_norm) != ("htk", "none"):
            raise ValueError("convention kaldi has mel_scale htk and mel_norm none, and no others")
        if self.convention == "librosa" and self.window == "povey":
            raise ValueError("the window povey belongs to convention kaldi")
        return self

    @model_validator(mode="after")
    def _frames_can_be_had(self) -> Self:
        if self.frames < 1:
            raise ValueError(f"{self.samples} samples give no frame of {self.frame_length} samples")
        if self.pad_mode == "reflect" and self.margin >= self.samples:
            raise ValueError(f"{self.samples} samples cannot be reflected over a margin of {self.margin}")
        if self.frames * self.kept > LARGEST_VALUES:
            raise ValueError(f"{self.frames} frames of {self.kept} numbers are more than {LARGEST_VALUES} values")
        check_real(self.input, "sound")
        return self
