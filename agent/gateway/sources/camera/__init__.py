"""Frames of a camera or a video file. OpenCV lives in a process of its own (`reader.py`), never in the gateway."""
