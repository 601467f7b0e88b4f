"""A frame as the follicle network and the checks before an answer see it: grey, at one size, without torch."""

import cv2
import numpy as np

WIDTH, HEIGHT = 192, 128  # px, 3:2 as the frames of the Telkom images, so that stretched ones regain their shape


def grey(pixels: np.ndarray) -> np.ndarray:
    """The frame, uint8 (128, 192), of an 8-bit RGB image (H, W, 3) of any size."""
    return shrink(pixels.mean(axis=2).astype(np.uint8))


def shrink(pixels: np.ndarray, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """The picture at the network's size, (128, 192)."""
    return cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=interpolation)
