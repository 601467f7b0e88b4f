"""Copies of one picture become one source; different pictures do not."""

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from pcos_utils.data import audit, manifest, phantom


def test_copies_are_joined_and_phantoms_are_not(tmp_path):
    for folder in ("pco", "normal"):
        (tmp_path / folder).mkdir()
    for seed in range(6):
        image = Image.fromarray(phantom.simulate(seed, seed % 2).image)
        folder = tmp_path / ("pco" if seed % 2 else "normal")
        image.save(folder / f"{seed}_original.png")
        image.save(folder / f"{seed}_jpeg.jpg", quality=60)
        image.resize((150, 100)).save(folder / f"{seed}_small.png")
        ImageEnhance.Brightness(image).enhance(1.15).save(folder / f"{seed}_bright.png")
    (tmp_path / "pco" / "copy.png").write_bytes((tmp_path / "pco" / "1_original.png").read_bytes())
    table = audit.find_sources(manifest.scan(tmp_path))
    family = table.path.str.extract(r"/(\d|copy)")[0].replace({"copy": "1"})
    assert pd.crosstab(family, table.source).gt(0).sum(axis=1).eq(1).all()
    assert table.source.nunique() == 6


def test_near_pairs_agree_with_a_plain_double_loop(monkeypatch):
    monkeypatch.setattr(audit, "BLOCK", 7)
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 40, dtype=np.uint64)
    hashes[20:] = hashes[:20] ^ np.uint64(1) << rng.integers(0, 63, 20, dtype=np.uint64)
    found = set(zip(*audit._near_pairs(hashes, 4), strict=True))
    wanted = {(i, j) for i in range(40) for j in range(40) if bin(int(hashes[i] ^ hashes[j])).count("1") <= 4}
    assert {tuple(sorted(pair)) for pair in found} == {tuple(sorted(pair)) for pair in wanted}


def test_summary_counts_conflicts_and_crossings():
    table = pd.DataFrame(
        {
            "path": list("abcde"),
            "status": ["ok"] * 4 + ["empty"],
            "source": ["a", "a", "c", "c", ""],
            "label": [0, 1, 0, 0, 1],
            "sha256": list("vvxyz"),
            "folder_split": ["train", "train", "train", "test", "test"],
        }
    )
    count = audit.summary(table).set_index("fact")["count"]
    assert count["unreadable files"] == 1 and count["distinct files (SHA-256)"] == 3
    assert count["sources that carry both labels"] == 1
    assert count["sources in both the train and the test folder"] == 1
