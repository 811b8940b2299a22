"""Taking pixels as they are: nearest neighbours, and pictures that have the wanted size already."""

import numpy as np
from numpy.typing import NDArray

from agent.inference.kernels.compiled import kernel

Bytes = NDArray[np.uint8]
Indices = NDArray[np.int64]


@kernel("void(uint8[::1], int64[::1], int64[::1], int64[::1], uint8[:, :, ::1])")
def resize_nearest(pixels: Bytes, steps: Indices, across: Indices, down: Indices, out: Bytes) -> None:
    """Take one pixel of an interleaved picture for each new one, into planes.

    Args:
        pixels: The source, flat.
        steps: Bytes from one row to the next, shape (1,).
        across: Byte in its row of the pixel for each new column, shape (new columns,).
        down: Row for each new row, shape (new rows,).
        out: Result, shape (planes, new rows, new columns).
    """
    for row in range(np.uintp(out.shape[1])):
        start = np.uintp(down[row] * steps[0])
        for plane in range(np.uintp(out.shape[0])):
            for column in range(np.uintp(out.shape[2])):
                out[plane, row, column] = pixels[start + plane + np.uintp(across[column])]


@kernel("void(uint8[:, :, ::1], int64[::1], uint8[:, :, ::1])")
def to_grey(planes: Bytes, order: Indices, out: Bytes) -> None:
    """0.299 R + 0.587 G + 0.114 B in 15 bits, rounded half up, as `cv2.cvtColor` does.

    Args:
        planes: Shape (3, rows, columns).
        order: Which plane is red, green, blue, shape (3,).
        out: Result, shape (1, rows, columns).
    """
    red, green, blue = np.uintp(order[0]), np.uintp(order[1]), np.uintp(order[2])
    for row in range(np.uintp(out.shape[1])):
        for column in range(np.uintp(out.shape[2])):
            warm = np.int32(planes[red, row, column]) * np.int32(9798)
            leaf = np.int32(planes[green, row, column]) * np.int32(19235)
            cold = np.int32(planes[blue, row, column]) * np.int32(3735)
            out[0, row, column] = np.uint8((warm + leaf + cold + np.int32(16384)) >> np.int32(15))
