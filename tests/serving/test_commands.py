"""The commands: a folder becomes lines or rows, a bad file an answer, a mistake one sentence with exit code 2."""

import json
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pcos_utils.config import ROOT
from pcos_utils.serving import model
from tests.serving.made import frame, png


def mutated(number: int, content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with some bytes changed; a third is cut short too, and a fifth has foreign bytes behind it."""
    content = bytearray(content)
    for place in rng.integers(0, len(content), int(rng.integers(1, 40))):
        content[place] = rng.integers(0, 256)
    if number % 3 == 0:
        content = content[: int(rng.integers(1, len(content)))]
    return bytes(content) + (b"<script>alert(1)</script>" if number % 5 == 0 else b"")


@pytest.mark.parametrize("files", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_mutated_images_are_answered_or_refused_in_time(served, tmp_path, pcos, files):
    grey, colour = Image.fromarray(frame()), Image.fromarray(frame()).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    kinds = {
        "jpg": (grey, {}), "png": (grey, {}), "bmp": (colour, {}), "gif": (grey, {}), "tif": (colour, {}),
        "webp": (colour, {}), "cmyk.jpg": (colour.convert("CMYK"), {}), "turned.jpg": (colour, {"exif": turned}),
        "deep.png": (Image.fromarray(frame().astype(np.uint16) * 257), {}),
        "moving.gif": (grey, {"save_all": True, "append_images": [grey.rotate(9)] * 3}),
    }  # fmt: skip
    for kind, (image, more) in kinds.items():
        image.save(tmp_path / f"whole.{kind}", **more)
    rng, folder = np.random.default_rng(0), tmp_path / "mutated"
    folder.mkdir()
    for number, kind in zip(range(files), cycle(kinds)):
        content = (tmp_path / f"whole.{kind}").read_bytes()
        (folder / f"{number:04d}.{kind}").write_bytes(mutated(number, content, rng))
    code, out, err = pcos("predict", folder, "--model", served, "--json")
    assert code == 0 and "Traceback" not in err, err[-2000:]
    rows = [json.loads(line) for line in out.splitlines()]
    named = list(dict.fromkeys(row["image"].split("#")[0] for row in rows))  # every frame of moving.gif has a row
    assert named == [str(path) for path in sorted(folder.iterdir())] and max(row["seconds"] for row in rows) < 2
    assert {row["decision"] for row in rows} <= set(model.DECISIONS)
    single = [row for row in rows if "frames decided" not in "".join(row["reasons"])]
    assert all(bool(row["reasons"]) == bool(row["refusal"]) == (row["decision"] == "cannot say") for row in single)
    refused = [row["refusal"] for row in rows if row["value"] is None]
    assert 0.3 < len(refused) / len(rows) < 0.9 and len(set(refused)) > 1  # both ways are well trodden


def test_a_folder_becomes_lines_or_rows_and_a_bad_file_is_one_of_them(served, home, pcos):
    """Litter is skipped, and no cell is a formula."""
    litter = (".ipynb_checkpoints/a.png", ".DS_Store", "Thumbs.db", "__MACOSX/a.png", ".hidden")
    for name in (*litter, "=1+1.png", "inner/b.txt"):
        (home / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "scans" / name).write_bytes(b"no image" if "b.txt" in name else png(frame()))
    (home / "scans" / "inner" / "c.png").symlink_to("nowhere")
    (home / "=2.png").write_bytes(png(frame()))
    code, out, err = pcos("predict", "scans", "--model", served, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 3, err
    assert rows[1]["refusal"] == "not an image" and rows[1]["value"] is None and rows[1]["reasons"]
    assert rows[0]["scale"] == "share polycystic among phantoms" and "probability" not in out
    lines = pcos("predict", "scans", "=2.png", "--model", served, "--csv")[1].splitlines()
    names = ["image", "scans/=1+1.png", "scans/inner/b.txt", "scans/inner/c.png", "'=2.png"]
    assert lines[0].startswith("image,box,decision,value,low,high") and "there is none" in lines[3]
    assert [line.split(",")[0] for line in lines] == names
    told = pcos("predict", "scans", "--model", served)[1]
    assert "Research only" in told and "share polycystic among phantoms 0." in told and "probability" not in told


@pytest.mark.parametrize(("words", "named"), [
    (["predict", ROOT / "LICENSE"], "run 'make reproduce' first, or name"),
    (["predict", "."], "no image to answer"),
    (["predict", "a.png"], "pcos: a.png does not exist; name images, or folders of them."),
    (["predict", ROOT / "LICENSE", "--model", "nowhere"], "model.json is missing"),
    (["predict", ROOT / "LICENSE", "--json", "--csv"], "exclude each other"),
    (["export", "--model", "resnet"], "MODEL=resnet"),
    (["export", "--model", "iustnet"], "is missing; run"),
    (["export"], "is missing; run"),
    (["app"], "run 'make reproduce' first"),
])  # fmt: skip
def test_a_mistake_is_one_sentence(pcos, tmp_path, words, named):
    code, _, err = pcos(*words)
    assert code == 2 and err.count("\n") == 1, err
    assert named in err and not list(tmp_path.iterdir())


def test_a_served_model_is_packed_and_not_exported_again(served, pcos, home, monkeypatch):
    assert "name --space DIR" in pcos("export", "--model", served)[2]
    packed = []
    monkeypatch.setattr("pcos_utils.serving.space.pack", lambda *folders: packed.extend(folders))
    assert pcos("export", "--model", served, "--space", "space")[0] == 0
    assert packed[0] == served and packed[1].name == "space"


def test_boxes_are_rows_and_a_bad_box_is_one_sentence(served, pcos, home):
    (home / "scans").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (home / "scans" / name).write_bytes(png(frame()))
    table = home / "boxes.csv"
    table.write_text("image,x0,y0,x1,y1\na.png,10,10,200,150\nscans/a.png,50,50,250,190\nb.png,,,,\n")
    code, out, err = pcos("predict", "scans", "--boxes", table, "--model", served, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and [row["box"] for row in rows] == ["10,10,200,150", "50,50,250,190", "", ""], err
    assert all(row["follicle_pixels"] for row in rows if row["value"] is not None)
    one = ["predict", "scans/a.png", "--box", "10,10,200,150", "--model", served]
    assert json.loads(pcos(*one, "--json")[1]) | {"seconds": 0} == rows[0] | {"seconds": 0}
    assert "[10,10,200,150]" in pcos(*one)[1]
    for words, named in (
        (["scans/a.png", "--box", "10,10,900,900"], "inside the frame of 300 x 200"),
        (["scans/a.png", "--box", "10,10,20,20"], "24 a side are needed"),
        (["scans/a.png", "--box", "a,b,c,d"], "give x0,y0,x1,y1"),
        (["scans", "--box", "10,10,90,90"], "--boxes"),
        (["scans/a.png", "--box", "10,10,90,90", "--boxes", table], "--boxes"),
        (["scans/b.png", "--boxes", table], "boxes.csv, line 2: 'a.png' names 0 of the images"),
        (["scans/b.png", "--boxes", "none.csv"], "none.csv is no file"),
    ):
        code, out, err = pcos("predict", *words, "--model", served, "--csv")
        assert code == 2 and out == "" and err.count("\n") == 1 and named in err, err


def test_every_frame_is_answered_with_and_without_shards_and_names_stay_on_their_line(served, pcos, home):
    scans = home / "scans"
    scans.mkdir()
    pictures = [Image.fromarray(frame(seed)) for seed in (1, 2, 3)]
    pictures[0].save(scans / "pages.tif", save_all=True, append_images=pictures[1:])
    pictures[0].save(scans / "a\x1b[31m\n.png")
    code, out, err = pcos("predict", scans, "--model", served)
    assert code == 0 and "a\\x1b[31m\\n.png: " in out and "\x1b" not in out, err
    names = [f"pages.tif{part}" for part in ("#1", "#2", "#3", "")]
    assert [Path(line.split(": ")[0]).name.split(" [")[0] for line in out.splitlines()[1:-1]] == names
    code, out, err = pcos("predict", scans, "--model", served, "--shards", "shards")
    assert code == 0 and "5 answers in 1 shards; 0 could not be read" in out, err
    assert sorted(Path(name).name for name in pd.read_parquet("shards").image)[1:] == sorted(names)


def test_nothing_that_can_be_read_is_exit_code_2(served, pcos, home):
    (home / "empty.png").touch()
    (home / "list.txt").write_text("\ufeffempty.png\nnowhere.png\n", encoding="utf-8")
    for words in (["empty.png"], ["empty.png", "--csv"], ["list.txt", "--shards", "shards"]):
        assert pcos("predict", *words, "--model", served)[0] == 2
    assert set(pd.read_parquet("shards").image) == {"empty.png", "nowhere.png"}
    (home / "bad.txt").write_bytes(b"\xff\xfea\0b\0")
    code, out, err = pcos("predict", "bad.txt", "--model", served, "--shards", "other")
    assert code == 2 and "it holds a zero byte; save it as UTF-8" in err and out == ""
