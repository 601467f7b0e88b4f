"""The report of a small study, really run: it opens without a network, links to what it has, shows no real pixel."""

import base64
import json
import re

import matplotlib.pyplot as plt
import nbformat
import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.files import write_csv
from pcos_utils.reporting import page, readme, store
from tests.conftest import refused, spoiled

ROOT = config.ROOT


@pytest.fixture(scope="module")
def report(evaluated, tmp_path_factory):
    """The report of the small study, the study, and the folder of executed notebooks."""
    study, _, home = evaluated
    executed = tmp_path_factory.mktemp("executed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        seen = nbformat.v4.new_output("display_data", {"text/markdown": "**seen**"})
        cells = [nbformat.v4.new_markdown_cell("# What is shown?"), nbformat.v4.new_code_cell("import pandas as pd")]
        cells[1].outputs = [seen, nbformat.v4.new_output("stream", text="a warning")]
        for name in ("02_explore", "03_finetune", "06_compare"):
            nbformat.write(nbformat.v4.new_notebook(cells=cells), executed / f"{name}.ipynb")
        write_csv(store.table_path(study, "audit"), pd.read_csv(ROOT / "reports/phantom-demo/tables/audit.csv"))
        yield page.build(study, executed).read_text(encoding="utf-8"), study, executed


@pytest.mark.slow
def test_it_asks_nothing_of_another_machine_its_links_lead_to_what_it_has_and_its_code_is_hidden(report):
    text, study, _ = report
    loaded = re.findall(r"""(?:src|href)=["']([^"'#]+)|url\(["']?([^)"']+)""", text)
    outside = [place for pair in loaded for place in pair if place.startswith(("http", "//"))]
    assert [place for place in outside if "github.com" not in place and "doi.org" not in place] == []
    anchors, links = (set(re.findall(rf'{kind}([^"]+)"', text)) for kind in ('id="', 'href="#'))
    assert len(links) > 20 and links <= anchors and "<script src" not in text
    assert {"abstract", "results", "methods", "limitations", "cards", "datasheets", "availability"} <= anchors
    assert "seen" in text and "import pandas" not in text and "a warning" not in text and "synthetic phantoms" in text
    assert text.index("Not for clinical use") < text.index("Abstract") < text.index("Methods")
    assert study.name in text and str(ROOT) not in text


def test_pixels_of_real_data_are_left_out():
    picture = nbformat.v4.new_output("display_data", {"image/png": "AAAA"}, metadata={store.PIXELS: True})
    plain = nbformat.v4.new_output("display_data", {"image/png": "BBBB"})
    assert "image/png" not in page._without_pixels(picture).data and page._without_pixels(plain) == plain


@pytest.mark.slow
def test_a_study_of_too_few_sources_has_a_report_without_a_verdict(report):
    _, study, executed = report
    table = pd.read_csv(study.report_dir / "sources.csv")
    few = table.assign(used=["yes" if number < 2 else "not drawn" for number in range(len(table))])
    with spoiled(study.report_dir / "sources.csv", few):
        text = page.build(study, executed).read_text(encoding="utf-8")
    assert "No method is judged: the source pictures are too few" in text and 'id="cards"' not in text
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r'id="([^"]+)"', text))


@pytest.mark.parametrize(("real", "pixels"), [(False, True), (True, False), (True, True)])
def test_a_figure_is_saved_with_its_reading_and_real_pixels_go_to_local(home, real, pixels):
    study = config.study(data=str(home) if real else "phantom")
    figure, ax = plt.subplots()
    ax.plot([0, 1])
    store.show(figure, study, "x", "A **reading**.", pixels=pixels)
    path = study.report_dir / ("local" if real and pixels else "figures") / "x.json"
    record = json.loads(path.read_text())
    assert record["caption"] == "A **reading**." and record["pixels"] is pixels
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in path.with_suffix(".svg").read_text() and len(list(study.report_dir.rglob("x.*"))) == 3


def test_tables_carry_no_seconds_and_an_edited_one_is_named(home):
    study, tables = config.study(), {"metrics": pd.DataFrame({"auc": [0.123456789], "seconds": [3]})}
    store.save_tables(tables, study)
    store.as_written(study, tables)
    path = store.table_path(study, "metrics")
    assert path.read_text() == "auc\n0.123457\n"
    path.write_text("auc\n0.2\n")
    refused("metrics.csv was changed after it was written", store.as_written, study, tables)


def test_a_block_is_put_between_its_marks_and_nothing_else_moves():
    text = "a <!-- x: by hand -->\n{}\n<!-- /x --> b <!-- y: -->\nleft\n<!-- /y -->"
    assert readme.with_block(text.format("old"), "new", "x") == text.format("new")


def test_pictures_in_notebooks_are_lean_and_a_report_does_not_tell_what_the_repository_shows():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(notebook, as_version=4).cells
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        assert all(len(base64.b64decode(output.get("image/png", ""))) < 200_000 for output in outputs)
        before, _, after = cells[0].source.partition("> In the repository")
        assert "synthetic demo images" in after and "\n" not in after
        assert page._cells(notebook, "", False)[0].source.rstrip() == before.rstrip()
