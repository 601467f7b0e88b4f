"""Change phantoms into what a person's box on a scanner's screen holds: few pixels, another gain, a sector's edge.

Only ``export`` uses it, to learn what is usual of a box. The ranges were widened until real boxes looked usual; the 48
whole sectors on which that was tried are development data.
"""

import cv2
import numpy as np

from pcos_utils.data.images import HEIGHT, WIDTH


def as_boxed(frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a changed copy of a phantom's grey frame, uint8 (128, 192), at the same size."""
    # A part of the frame, near its middle, or the frame and more of the same around it.
    margin = WIDTH // 4
    x = cv2.copyMakeBorder(frame, margin, margin, margin, margin, cv2.BORDER_REFLECT).astype(np.float32)
    share = rng.uniform(0.7, 1.4) * rng.uniform(0.85, 1.15, 2)
    width, height = np.minimum(share * (WIDTH, HEIGHT), x.shape[::-1]).astype(int)
    left, top = (rng.uniform(0.35, 0.65, 2) * (x.shape[1] - width, x.shape[0] - height)).astype(int)
    x = x[top : top + height, left : left + width]
    # The beam of a wide sector is broad across, and its gain falls or rises with depth.
    x = cv2.GaussianBlur(x, (0, 0), rng.uniform(0.1, 2.5), sigmaY=rng.uniform(0.1, 0.8))
    x *= np.linspace(*rng.uniform(0.75, 1.25, 2), len(x), dtype=np.float32)[:, None]
    # Few pixels, of a screen that saturates, stored as JPEG.
    least = np.exp(rng.uniform(np.log(28), np.log(HEIGHT)))
    aspect = rng.uniform(0.8, 1.25)
    x = cv2.resize(x, (round(1.5 * least * aspect), round(least / aspect)), interpolation=cv2.INTER_AREA)
    low, high = np.quantile(x, [rng.uniform(0, 0.1), rng.uniform(0.85, 1)])
    x = np.clip((x - low) / max(high - low, 1), 0, 1) ** np.exp(rng.uniform(-0.5, 0.5))
    floor, ceiling = rng.uniform([0, 190], [60, 255]) * [rng.random() < 0.5, 1]
    x = floor + (ceiling - floor) * x
    if rng.random() < 0.3:  # harmonic imaging and filters make edges steep
        x = x + rng.uniform(0.3, 1) * (x - cv2.GaussianBlur(x, (0, 0), 1))
    small = np.clip(x + rng.normal(0, rng.uniform(0, 3), x.shape), 0, 255).astype(np.uint8)
    stored = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 97))])[1]
    small = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
    large = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.3:  # the box reaches over the edge of the sector
        side, along = rng.uniform(0.1, 0.9, 2)
        corner = np.array([[0, 0], [side * WIDTH, 0], [0, along * HEIGHT]], np.float32)
        if rng.random() < 0.5:
            corner[:, 0] = WIDTH - corner[:, 0]
        if rng.random() < 0.5:
            corner[:, 1] = HEIGHT - corner[:, 1]
        cv2.fillPoly(large, [corner.astype(np.int32)], 0)
    return large
