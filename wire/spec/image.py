"""Pictures: what is done to one before a model sees it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wire.base import Message
from wire.spec.base import LARGEST_SINGLE, TensorSpec, check_real

PerChannel = Annotated[tuple[float, ...], Field(min_length=1, max_length=4)]


class ImagePre(Message, allow_inf_nan=False):
    """A picture: decoded, brought to (height, width), colours ordered, scaled, normalised, quantised, laid out.

    A query is uint8 or uint16 pixels of shape (rows, columns), (rows, columns, 1), (…, 3) or (…, 4), or the bytes of a
    JPEG or PNG file as uint8 of shape (n,). 16 bit are brought to 8 (the high byte), a fourth channel is transparency
    and is dropped, one channel becomes three equal ones where the model takes three.

    `fit`: `stretch` takes the whole picture and lets its proportions go, `letterbox` keeps them and fills with
    `pad_value`, `crop` resizes the shorter edge to `short_edge` and cuts the middle. `interpolation` has half-pixel
    centres; `antialias` widens the filter where a picture shrinks, as Pillow does. Resized pixels are rounded to
    8 bits. Then x = (pixel * scale - mean) / deviation per channel of the model's order, computed in float32 as
    pixel * (scale / deviation) - mean / deviation, and quantised.

    `bilinear` without antialias gives OpenCV's INTER_LINEAR, bit for bit as on x86; `area` weighs each source pixel by
    how much of it is covered, as INTER_AREA does where a picture shrinks (within one level); `nearest` takes the pixel
    in which the new one's middle lies. `letterbox` puts the odd pixel of padding right and below; `crop` rounds as
    torchvision's Resize and CenterCrop.

    Files are turned as their EXIF orientation says. Refused are: numbers that are no uint8 or uint16 (floats too: they
    do not say whether they reach to 1 or to 255), pictures of no pixels or of more than 32 Mi, files that are cut off
    or seen to be damaged, and JPEGs of four colours (CMYK).
    """

    kind: Literal["image"] = "image"
    height: int = Field(ge=1, le=8192)
    width: int = Field(ge=1, le=8192)
    fit: Literal["stretch", "letterbox", "crop"] = "stretch"
    short_edge: int | None = Field(default=None, ge=1, le=8192)
    interpolation: Literal["nearest", "bilinear", "area"] = "bilinear"
    antialias: bool = False
    pad_value: int = Field(default=114, ge=0, le=255)
    query_colour: Literal["rgb", "bgr"] = "rgb"
    """Order of the channels of a query that is an array; files are decoded as they say themselves."""
    colour: Literal["rgb", "bgr", "grey"] = "rgb"
    """Order that the model takes. Grey is 0.299 R + 0.587 G + 0.114 B."""
    scale: float = Field(default=1 / 255, gt=0)
    mean: PerChannel = (0.0,)
    deviation: PerChannel = (1.0,)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    input: TensorSpec

    @property
    def channels(self) -> int:
        """Channels that the model takes."""
        return 1 if self.colour == "grey" else 3

    @property
    def axes(self) -> tuple[int, ...]:
        """Shape of one query in the model's layout; a grey one may do without its axis of channels."""
        if self.channels == 1 and len(self.input.shape) == 3:
            return (self.height, self.width)
        size = (self.height, self.width)
        return (self.channels, *size) if self.layout == "NCHW" else (*size, self.channels)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for name, numbers in (("mean", self.mean), ("deviation", self.deviation)):
            if len(numbers) not in (1, self.channels):
                raise ValueError(f"{name} has {len(numbers)} numbers, {self.colour} has {self.channels} channels")
        self._check_scale()
        if self.antialias and self.interpolation != "bilinear":
            raise ValueError(f"antialias goes with bilinear: {self.interpolation} has no filter to widen")
        self._check_input()
        if self.fit != "crop" and self.short_edge is not None:
            raise ValueError(f"short_edge goes with crop: {self.fit} has no use for it")
        if self.fit == "crop" and (self.short_edge or 0) < max(self.height, self.width):
            raise ValueError(f"crop needs a short_edge of {max(self.height, self.width)} or more")
        return self

    def _check_scale(self) -> None:
        if min(self.deviation) <= 0:
            raise ValueError(f"deviation must be above 0 in every channel, is {self.deviation}")
        largest = max(self.scale * 255, *map(abs, self.mean)) / min(self.deviation)
        if largest > LARGEST_SINGLE:
            raise ValueError(
                f"scale ({self.scale}) or mean {self.mean} over deviation {self.deviation} is more than float32 holds"
            )

    def _check_input(self) -> None:
        check_real(self.input, "a picture")
        wanted, given = (-1, *self.axes), self.input.shape
        if len(given) != len(wanted) or any(
            -1 not in (found, axis) and found != axis for found, axis in zip(given, wanted, strict=True)
        ):
            raise ValueError(f"the input's shape is {given}, an {self.layout} {self.colour} picture has {wanted}")
