"""Kernels behind detection and segmentation: candidates, boxes, suppression, masks."""
