"""The report as a paper: its links lead somewhere, its numbers come from tables, and it can be read alone."""

import json
import re
import subprocess
from html.parser import HTMLParser

import pandas as pd
import pytest

from pcos_utils import config
from pcos_utils.evaluation import clusters, page, readings
from pcos_utils.evaluation.paper import cards, checklists, pdf, pictures, tables, words
from pcos_utils.files import sha256
from pcos_utils.models import counts

DEMO = config.ROOT / "reports" / "phantom-demo"
MODELS = ["densenet201", "densenet121d", "iustnet", "follicles"]

ITEMS = {
    "claim": " ".join(map(str, range(1, 45))),
    "tripod": "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 18a "
    "18b 18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c",
}


def of(name: str) -> pd.DataFrame:
    """A table of the committed demo."""
    return pd.read_csv(DEMO / "tables" / f"{name}.csv")


def answers() -> pd.DataFrame:
    """Six sources, three of each class, that every reader calls alike: one miss and two false alarms."""
    rows = pd.DataFrame({
        "source": [f"pco/a_{n}.png" for n in range(3)] + [f"normal/b_{n}.png" for n in range(3)],
        "label": [1, 1, 1, 0, 0, 0], "images": 1, "probability": 0.5,
        "margin": [0.1, 0.2, -0.3, 0.4, 0.9, -0.1], "called": [True, True, False, True, True, False],
    })  # fmt: skip
    return pd.concat([rows.assign(model=model) for model in MODELS], ignore_index=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The demo's report from its committed tables and figures, with what build was given, and its text."""
    home = tmp_path_factory.mktemp("paper")
    folder = home / "reports" / "phantom-demo"
    (folder / "tables").mkdir(parents=True)
    for path in (DEMO / "tables").glob("*.csv"):
        (folder / "tables" / path.name).symlink_to(path)
    for name in ("sources.csv", "plan.json", "figures"):
        (folder / name).symlink_to(DEMO / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(home))
        # The runs are not committed; what verify asks of them is tried in test_sabotage.py.
        patch.setattr(page.results, "verify", lambda study, made: None)
        patch.setattr(page.plan, "sentence", lambda study: "The plan was written before.")
        made = {name: of(name) for name in ("metrics", "comparisons", "thresholds", "flips", "repeats", "repetition")}
        made["answers"] = answers()
        yield made, page.build(config.study(), made), home


class Page(HTMLParser):
    """The page's anchors, links, pictures and figures."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.pictures = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named["href"]] if tag == "a" else []
        self.pictures += [named] if tag == "img" else []


def test_every_reference_leads_to_one_place(built):
    seen = Page(built[1].read_text())
    assert len(seen.ids) == len(set(seen.ids))
    inside = [link[1:] for link in seen.links if link.startswith("#")]
    assert len(inside) > 100 and set(inside) <= set(seen.ids)
    assert not [link for link in seen.links if "//" in link]
    assert {f"table-{name}" for name in ("data", "performance", "comparisons", "published")} <= set(seen.ids)


def test_tables_and_figures_are_numbered_in_the_order_of_the_page(built):
    text = built[1].read_text()
    for kind in ("Table", "Figure"):
        numbers = [int(number) for number in re.findall(rf"<strong>{kind} (\d+)\.", text)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 6
    order = [text.index(f'id="table-{name}"') for name in ("data", "performance", "comparisons", "published")]
    assert order == sorted(order)


def test_pictures_have_words_of_their_own_and_captions_stand_alone(built):
    study = config.study()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PCOS_HOME", str(built[2]))
        shown = pictures.cards(study)
    for card in shown:
        assert len(card["alt"]) > 30 and card["alt"] != card["caption"] and "{" not in card["alt"] + card["shows"]
        assert card["title"] and card["caption"] and card["provenance"]
    shown_there = Page(built[1].read_text()).pictures
    assert shown_there and all(one["alt"] and one["src"].startswith("data:image/") for one in shown_there)
    assert sum(card["section"] == "results-further" for card in shown) <= 3


def test_it_is_small_enough_to_travel_and_asks_nothing_of_the_network(built):
    text = built[1].read_text()
    assert len(text) < 3_000_000 and not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_the_abstract_says_question_answer_interval_pictures_and_use(built):
    made, path, _ = built
    abstract = path.read_text().split('id="abstract"')[1].split("</section>")[0]
    assert words.QUESTION in abstract and "Not for clinical use." in abstract
    assert "300 independent pictures" in abstract and "150 polycystic and 150 normal" in abstract
    rows = made["metrics"].query("protocol == 'grouped' and level == 'source' and metric == 'auc' and not beside")
    for model in MODELS:
        row = rows[rows.model == model].iloc[0]
        assert f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]".replace("0.", ".") in abstract


@pytest.mark.skipif(pdf.browser() is None, reason="no Chromium on this machine")
def test_the_abstract_fits_the_first_screen_and_nothing_sticks_out(built):
    probe = built[1].with_name("probe.html")
    script = (
        "<script>const b=document.getElementById('abstract').getBoundingClientRect();"
        "document.title=[Math.round(b.bottom),document.documentElement.scrollWidth].join(' ')</script>"
    )
    probe.write_text(built[1].read_text().replace("</body>", script + "</body>"))
    done = subprocess.run(
        [pdf.browser(), "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1280,800",
         f"--user-data-dir={built[2] / 'profile'}", "--dump-dom", probe.as_uri()],
        capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    bottom, width = map(int, re.search(r"<title>(\d+) (\d+)</title>", done.stdout).groups())
    assert bottom < 700 and width <= 1280


def test_no_number_stands_in_the_template(built):
    text = (page.PAPER / "paper.html.j2").read_text().split("<body", 1)[1]
    text = re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}|<[^>]*>", " ", text, flags=re.DOTALL)
    assert not re.search(r"\d", text)


def test_a_changed_table_changes_the_sentence(built):
    metrics = of("metrics")
    before = words.answers(MODELS, metrics)
    own = (metrics.model == "iustnet") & (metrics.metric == "auc") & (metrics.level == "source")
    changed = metrics.assign(value=metrics.value.where(~own, 0.91), low=metrics.low.where(~own, 0.88))
    after = words.answers(MODELS, changed)
    assert after[0].startswith("IustNet is better than chance: AUC .91 [.88") and before[0].startswith("Follicle count")
    assert words.interpretation(MODELS, changed).startswith(
        "Better than chance: DenseNet201, IustNet, Follicle count; not shown"
    )


@pytest.mark.parametrize("name", ["claim", "tripod"])
def test_checklists_are_complete_and_each_item_leads_somewhere(built, name):
    items = checklists.items(name)
    assert " ".join(items.item) == ITEMS[name]
    assert set(items.status) == {checklists.DONE, checklists.NOT}
    assert (items.how != "")[items.status == checklists.NOT].all()
    seen = Page(built[1].read_text())
    assert set(items["where"]) <= set(seen.ids)


def test_an_item_without_its_place_is_not_applicable_with_the_reason():
    rows = checklists.answered("claim", {"abstract": "Abstract"}, "too few")
    told = {row["item"]: row for row in rows}
    assert told["2"]["status"] == checklists.DONE and told["2"]["href"] == "#abstract"
    assert told["37"] | {"asks": ""} == told["37"] | {
        "asks": "",
        "status": checklists.NOT,
        "how": "too few",
        "href": "",
    }
    assert checklists.counted(rows)["items"] == 44


def test_cards_have_nine_headings_and_sheets_seven(built):
    text = built[1].read_text()
    for model in MODELS:
        card = text.split(f'id="card-{model}"')[1].split("</dl>")[0]
        assert re.findall(r"<dt>(.*?)</dt>", card) == list(cards.HEADINGS) and "<dd></dd>" not in card
    for name in config.DATASETS:
        sheet = text.split(f'id="sheet-{name}"')[1].split("</dl>")[0]
        assert re.findall(r"<dt>(.*?)</dt>", sheet) == list(cards.SHEET_HEADINGS)
    own = dict(cards.datasheets(config.study())[0]["entries"])
    assert "supports no clinical number" in own["Uses"]


def test_the_counters_card_tells_what_its_weights_say():
    numbers, told = cards.weights_in(counts.KEPT)
    details, training = cards._counter(config.study(), counts.NAME)
    assert f"{numbers:,} numbers" in details
    assert f"{float(told['phantoms_per_class']):,.0f} phantoms of each class" in training
    assert f"{float(told['dice_follicle']):.2f}".replace("0.", ".") in training


def test_failures_are_counted_and_the_most_wrong_come_first():
    made = tables.failures(answers())
    assert made.rows[0] == ["DenseNet201", "1 of 3", "a_2", "2 of 3", "b_1, b_0"]
    twins = answers().replace({"source": {"normal/b_0.png": "normal/a_0.png"}})
    assert tables.failures(twins).rows[0][2] == "pco/a_2.png"
    assert readings.shared_failures(answers()) == ("Of 6 sources all of 4 readers are wrong about 3 and right about 3.")


def test_a_table_without_an_interval_says_why():
    made = tables.performance(of("metrics"))
    always = next(row for row in made.rows if row[0] == "Always normal")
    assert always[2] == ".50 [–]" and "[–]: no interval, because all resamples agree." in made.note
    assert [row[-1] for row in made.rows].count("better") == 3


def test_repeats_have_a_spread_and_one_repeat_has_none():
    once = pd.DataFrame({"model": ["iustnet", "follicles"], "repeat": 0, "auc": [0.6, 0.9]})
    assert words.repeats(once) == ""
    drawn = pd.DataFrame({"model": "iustnet", "repeat": range(3), "auc": [0.5, 0.6, 0.7]})
    assert "Over 3 repeats" in words.repeats(drawn) and "IustNet .10 (from .50 to .70)" in words.repeats(drawn)


def test_copies_are_worth_few_images_and_without_copies_there_is_no_table():
    kept = ["model", "protocol", *clusters.COLUMNS]
    assert tables.repetition(pd.DataFrame(columns=kept)) is None
    row = ("iustnet", "published", "score", 1, 4, 120, 0.9, 27.1, 120 / 27.1)
    made = tables.repetition(pd.DataFrame([row, row[:2] + ("right answer",) + row[3:]], columns=kept))
    assert made.rows == [["IustNet, published protocol, polycystic", "4", "120", ".90", "27.10", "4.43"]]
    assert made.name == "repetition"


def test_what_was_stressed_under_another_plan_is_not_told(tmp_path, monkeypatch):
    told, study = words.robustness(config.study()), config.study()
    kept = json.loads((config.ROOT / "reports" / "benchmarks" / "stress.json").read_text())
    plans = {one["sha256"]["phantom-demo/plan.json"] for one in kept.values()}
    assert bool(told) == (plans == {sha256(study.plan_path)}) and len(told) in (0, 4)
    monkeypatch.setenv("PCOS_HOME", str(tmp_path))
    (tmp_path / "reports" / "phantom-demo").mkdir(parents=True)
    (tmp_path / "reports" / "phantom-demo" / "plan.json").write_text("{}")
    assert words.robustness(study) == []


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< .001"), (0.0411, ".041"), (1.0, "1.000"), (float("nan"), "–")])
def test_small_p_values_read_well(p, text):
    assert tables.p_value(p) == text


@pytest.mark.skipif(pdf.browser() is None, reason="no Chromium on this machine")
def test_the_pdf_lies_beside_the_report(tmp_path):
    (tmp_path / "report.html").write_text("<p>A page.</p>")
    assert "report.pdf" in pdf.write(tmp_path)
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_without_a_browser_it_says_so_and_without_a_report_it_stops(tmp_path, monkeypatch):
    with pytest.raises(config.StudyError, match="report.html is missing"):
        pdf.write(tmp_path)
    (tmp_path / "report.html").write_text("<p>A page.</p>")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert pdf.write(tmp_path).startswith("No PDF: no Chromium") and not (tmp_path / "report.pdf").exists()
