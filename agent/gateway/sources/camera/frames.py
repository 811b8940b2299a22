"""What passes between the gateway and the reader of a camera: a head of five bytes, then a content."""

import struct

HEAD = struct.Struct("<cI")
"""Kind and length of the content [bytes]."""

FRAME, FAULT, END = b"F", b"E", b"Z"
"""A frame's bytes; why there are no more; a file's end."""

LARGEST_FAULT_BYTES = 4096
CHANNELS = {"rgb": 3, "bgr": 3, "grey": 1}
ITEM_BYTES = {"uint8": 1, "float32": 4}
