"""The page in a real browser: answers, refusals, a batch, a phone, the dark, the keyboard, and no outside address."""

import base64
import csv
import json
import re
import time

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw
from selenium.webdriver.common.keys import Keys

from pcos_utils.serving.predict import Served
from tests.browser.window import outside
from tests.serving.made import crowded, free_port

UPLOAD = "#frame input[type=file]"
SEVERAL = "#frames input[type=file]"


def give(window, selector: str, *paths) -> None:
    """Nothing; the files are handed to the field that the selector finds."""
    window.wait(selector).send_keys("\n".join(map(str, paths)))


@pytest.fixture(scope="session")
def phantoms(shown) -> list:
    """Frames that the page answers: the served model's examples, as files."""
    return sorted((shown / "examples").glob("*.png"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory) -> dict:
    """Pictures that are no scan, by the refusal that they deserve."""
    folder = tmp_path_factory.mktemp("strangers")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8))
    text = Image.new("L", (500, 400), 255)
    for row in range(20):
        ImageDraw.Draw(text).text((10, 20 * row), "Findings: the uterus is anteverted and of normal size.", fill=0)
    made = {"noise.png": noise, "text.png": text, "small.png": Image.new("L", (20, 20), 90)}
    for name, image in made.items():
        image.save(folder / name)
    (folder / "cut.png").write_bytes((folder / "noise.png").read_bytes()[:500])
    refusals = ("not an ovarian scan", "not an ovarian scan", "too small", "damaged")
    return {folder / name: refusal for name, refusal in zip((*made, "cut.png"), refusals, strict=True)}


@pytest.fixture
def at(window, page):
    """The window with the page open."""
    window.open(page, UPLOAD)
    return window


def test_a_frame_becomes_the_answer_that_the_command_gives(at, shown, phantoms):
    wanted = Served(shown).answer(phantoms[0])
    give(at, UPLOAD, phantoms[0])
    at.wait(".verdict")
    text = at.wait("#answer").text
    assert f"Probability of polycystic morphology {100 * wanted.probability:.0f} %" in text
    assert "95 % interval {:.0f} % to {:.0f} %".format(*(100 * edge for edge in wanted.interval)) in text
    assert re.search(rf"\b{wanted.follicles} follicles? (is|are) outlined", text)
    assert "Research only" in text and "Model iustnet" in text
    assert len(at.find("#outlines polygon")) >= wanted.follicles
    at.picture("page-answer")
    at.click("#why")
    at.wait("#outlines .slider")
    move = "const s = document.querySelector('#outlines input'); s.value = 20; s.dispatchEvent(new Event('input'));"
    at.script(move)
    assert at.script("return getComputedStyle(document.querySelector('#outlines .heat')).opacity") == "0.2"
    at.picture("page-map")
    assert at.complaints() == []


PASTE = """const done = arguments[1];
fetch('data:image/png;base64,' + arguments[0]).then(answer => answer.blob())
  .then(blob => navigator.clipboard.write([new ClipboardItem({'image/png': blob})]))
  .then(() => done(''), error => done(`${error}`))
"""


def test_a_frame_can_be_pasted(at, shown, phantoms):
    at.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    wanted = Served(shown).answer(phantoms[1])
    assert at.driver.execute_async_script(PASTE, base64.b64encode(phantoms[1].read_bytes()).decode()) == ""
    at.click("#frame button[aria-label='Paste from clipboard']")
    at.wait(".verdict")
    assert f"Probability of polycystic morphology {100 * wanted.probability:.0f} %" in at.wait("#answer").text


def test_what_is_no_scan_is_refused_with_its_reason(at, strangers):
    for path, refusal in strangers.items():
        at.open(at.driver.current_url, UPLOAD)
        give(at, UPLOAD, path)
        text = at.wait("#answer .answer", "Cannot say").text
        assert f"Refused: {refusal}." in text and "Probability" not in text
        assert len(text.splitlines()) >= 4  # a sentence says why
        at.picture(f"page-refused-{path.stem}")


def test_an_example_answers_and_a_cleared_frame_takes_its_answer_along(at):
    at.click("#examples button")
    at.wait(".verdict")
    at.click("#frame button[aria-label='Remove Image']")
    at.wait("#answer .hint")
    assert at.find("#outlines polygon") == []


def test_a_batch_becomes_a_table_and_a_file(at, tmp_path, phantoms, strangers):
    at.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    at.click("button[role=tab]", "Batch")
    files = [*phantoms, *strangers]
    give(at, SEVERAL, *files)
    said = at.wait("#table section", f"{len(files)} files").text
    assert len(at.find("#table tbody tr")) == len(files)
    at.picture("page-batch")
    at.click("#table a.save")
    saved, deadline = tmp_path / "answers.csv", time.monotonic() + 20
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    rows = list(csv.DictReader(saved.open()))
    assert [row["image"] for row in rows] == [path.name for path in files]
    unsure = sum(row["decision"] == "cannot say" for row in rows)
    assert f"of which {unsure} cannot be said" in said
    assert [row["refusal"] for row in rows[len(phantoms) :]] == list(strangers.values())


def test_a_phone_shows_all_of_it_and_scrolls_in_one_direction(at, page, phantoms, strangers):
    at.phone()
    at.open(page, UPLOAD)
    give(at, UPLOAD, phantoms[0])
    at.wait(".verdict")
    top = "return document.querySelector('.verdict').getBoundingClientRect().top / innerHeight"
    until = time.monotonic() + 5
    while not 0 <= at.script(top) < 0.8 and time.monotonic() < until:
        time.sleep(0.1)
    assert 0 <= at.script(top) < 0.8  # the answer is on the screen, not below it
    assert at.script("return document.querySelector('#answer').getBoundingClientRect().width") > 320  # one column
    at.picture("page-phone")
    for tab, shown in (("One frame", "#answer"), ("Batch", "#frames"), ("API", ".prose pre")):
        at.click("button[role=tab]", tab)
        at.wait(shown)
        if tab == "Batch":
            give(at, SEVERAL, *phantoms, *strangers)
            at.wait("#table tbody")
            at.picture("page-phone-batch")
        assert at.script("return [document.documentElement.scrollWidth, document.body.scrollWidth]") == [360, 360]


def test_the_dark_is_dark_and_of_the_visitors_own_choosing(at, page, phantoms):
    lightness = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
    assert min(at.script(lightness)) > 200
    at.dark()
    at.open(page, UPLOAD)
    assert max(at.script(lightness)) < 60
    give(at, UPLOAD, phantoms[1])
    at.wait(".verdict")
    at.picture("page-dark")


def focused(window) -> str:
    """What a screen reader would say of the element with the focus."""
    return window.script(
        "const e = document.activeElement, told = (e.labels && e.labels[0] || e).innerText;"
        "return told || e.getAttribute('aria-label') || e.tagName"
    )


def tab_to(window, named: str, most: int = 30) -> None:
    """Nothing; the Tab key has brought the focus to what is so named, and every stop could be seen."""
    seen = []
    for _ in range(most):
        window.keys(Keys.TAB)
        seen.append(focused(window).strip())
        if window.script("return document.activeElement === document.body"):
            continue  # from the end to the start
        style = window.script(
            "const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();"
            "return [s.outlineStyle, parseFloat(s.outlineWidth), b.width * b.height]"
        )
        assert style[0] != "none" and style[1] >= 2 and style[2] > 0, f"the focus on {seen[-1]!r} cannot be seen"
        if named in seen[-1]:
            return
    pytest.fail(f"Tab does not come to {named!r}, only to {seen}")


def test_the_keyboard_is_enough(at, phantoms):
    at.command("Page.setInterceptFileChooserDialog", enabled=True)
    at.events()
    tab_to(at, "Drop, paste or choose a frame")
    at.keys(Keys.ENTER)
    chosen, until = [], time.monotonic() + 10
    while not chosen and time.monotonic() < until:
        chosen = [event["params"] for event in at.events() if event["method"] == "Page.fileChooserOpened"]
    at.command("DOM.setFileInputFiles", files=[str(phantoms[0])], backendNodeId=chosen[0]["backendNodeId"])
    at.command("Page.setInterceptFileChooserDialog", enabled=False)
    at.wait(".verdict")
    tab_to(at, "Phantom 2")
    before = at.wait("#outlines img").get_attribute("src")
    at.keys(Keys.SPACE)
    until = time.monotonic() + 20
    while at.wait("#outlines img").get_attribute("src") == before and time.monotonic() < until:
        time.sleep(0.1)
    assert at.wait("#outlines img").get_attribute("src") != before
    tab_to(at, "Show what the answer rests on")
    at.keys(Keys.ENTER)
    at.wait("#outlines .slider")
    tab_to(at, "Strength of the map")
    at.keys(Keys.ARROW_RIGHT)
    assert at.script("return document.querySelector('#outlines input').value") == "61"


def test_no_request_leaves_this_machine(window, page, phantoms):
    window.open(page, UPLOAD)
    give(window, UPLOAD, phantoms[0])
    window.wait(".verdict")
    window.click("#why")
    window.wait("#outlines .slider")
    for tab in ("Batch", "API"):
        window.click("button[role=tab]", tab)
    time.sleep(1)  # a beacon would come late
    asked = window.addresses()
    assert len(asked) > 20 and any("/gradio_api/upload" in address for address in asked)
    assert outside(asked) == []
    assert outside(["https://example.org/a", "wss://example.org", "http://127.0.0.1:1/a"]) == [
        "https://example.org/a", "wss://example.org",
    ]  # fmt: skip


def test_a_full_queue_is_told_and_the_next_try_answered(window, shown, phantoms, tmp_path):
    port, asked = free_port(), []
    with crowded(shown, port, waiting=1, seconds=6, log=tmp_path / "log.txt") as address:
        window.open(address, UPLOAD)
        clients = [Client(address, verbose=False) for _ in range(3)]
        for client, state in zip(clients, ("PROCESSING", "PROCESSING", "IN_QUEUE"), strict=True):
            asked.append(client.submit(handle_file(phantoms[0]), api_name="/predict"))
            until = time.monotonic() + 20
            while asked[-1].status().code.name != state and time.monotonic() < until:
                time.sleep(0.05)
            assert asked[-1].status().code.name == state
        give(window, UPLOAD, phantoms[1])
        told = window.wait(".toast-body", "busy").text
        window.picture("page-queue")
        assert "try again" in told and window.find(".verdict") == []
        assert [job.result(timeout=120)["model"] for job in asked] == ["iustnet"] * 3
        window.open(address, UPLOAD)
        give(window, UPLOAD, phantoms[1])
        window.wait(".verdict")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(window, page, axe, phantoms, strangers, dark):
    if dark:
        window.dark()
    window.open(page, UPLOAD)
    found = {"empty": findings(window, axe)}
    give(window, UPLOAD, phantoms[0])
    window.wait(".verdict")
    window.click("#why")
    window.wait("#outlines .slider")
    found["answer"] = findings(window, axe)
    window.click("button[role=tab]", "Batch")
    give(window, SEVERAL, *phantoms[:2], *strangers)
    window.wait("#table tbody")
    found["batch"] = findings(window, axe)
    window.click("button[role=tab]", "API")
    window.wait(".prose pre")
    found["api"] = findings(window, axe)
    assert {state: rules for state, rules in found.items() if rules} == {}, json.dumps(found, indent=1)


def findings(window, axe: str) -> dict:
    """The serious and critical findings of axe-core: rule to what it found fault with."""
    time.sleep(0.5)  # colours fade in
    window.script(axe)
    done = window.driver.execute_async_script(
        "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then(done, e => done({e: `${e}`}))"
    )
    return {
        rule["id"]: [f"{node['target']}: {node['failureSummary']}" for node in rule["nodes"][:4]]
        for rule in done["violations"]
        if rule["impact"] in ("serious", "critical")
    }
