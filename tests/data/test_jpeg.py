"""A hole of zero bytes in a JPEG is named; dark, even and optimised pictures are not taken for one."""

import io

import numpy as np
import pytest
from PIL import Image

from pcos_utils.data.images import ImageError, load
from pcos_utils.data.jpeg import hole
from pcos_utils.phantom import simulator
from tests.data.test_images import encoded


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("settings", [{}, {"quality": 95}, {"quality": 20}, {"subsampling": 0}])
def test_a_hole_is_named(mode, settings):
    image = Image.fromarray(simulator.simulate(3, 1).image).convert(mode)
    content = bytearray(encoded(image, "JPEG", **settings))
    assert hole(bytes(content)) is None and load(io.BytesIO(content)).shape == (200, 300, 3)
    content[len(content) // 2 : len(content) // 2 + 512] = bytes(512)
    with pytest.raises(ImageError, match="scan.jpg: damaged .zero bytes in place of data from byte"):
        load(io.BytesIO(content), "scan.jpg")


@pytest.mark.parametrize("settings", [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 4}])
@pytest.mark.parametrize("value", [0, 128])
def test_an_even_picture_has_no_hole(settings, value):
    for mode in ("L", "RGB"):
        content = encoded(Image.fromarray(np.full((900, 900), value, np.uint8)).convert(mode), "JPEG", **settings)
        assert hole(content) is None and hole(content + bytes(4096)) is None
