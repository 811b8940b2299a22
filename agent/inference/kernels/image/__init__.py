"""Kernels of pictures: resizing into planes of 8 bits, then one pass into the engine's buffer.

OpenCV is not needed for it: the fused loops here are faster than `cv2.resize` and a pass over its result, and a device
without OpenCV gives the same bits as one with it.
"""
