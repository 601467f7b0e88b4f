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
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from pcos_utils.serving.model import Served
from tests.browser.conftest import outside
from tests.serving.made import crowded

pytestmark = pytest.mark.slow
UPLOAD = "#frame input[type=file]"
SEVERAL = "#frames input[type=file]"
SHARE = "Share polycystic among phantoms"


@pytest.fixture(scope="session")
def phantoms(shown) -> list:
    return sorted((shown / "examples").glob("*.png"))


@pytest.fixture(scope="session")
def strangers(tmp_path_factory) -> dict:
    """Pictures that are no scan, by the refusal that they deserve."""
    folder = tmp_path_factory.mktemp("strangers")
    text = Image.new("L", (500, 400), 255)
    for row in range(20):
        ImageDraw.Draw(text).text((10, 20 * row), "Findings: the uterus is anteverted and of normal size.", fill=0)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400), dtype=np.uint8)
    for name, picture in ("noise", Image.fromarray(noise)), ("text", text), ("small", Image.new("L", (20, 20), 90)):
        picture.save(folder / f"{name}.png")
    (folder / "cut.png").write_bytes((folder / "noise.png").read_bytes()[:500])
    refusals = {"noise": "not an ovarian scan", "text": "not an ovarian scan", "small": "too small", "cut": "damaged"}
    return {folder / f"{name}.png": refusal for name, refusal in refusals.items()}


@pytest.fixture
def at(window, page):
    window.open(page, UPLOAD)
    return window


def test_a_frame_becomes_the_answer_that_the_command_gives(at, shown, phantoms):
    answer = Served(shown).answer(phantoms[0])
    at.give(UPLOAD, phantoms[0])
    at.wait(".verdict")
    text = at.wait("#answer").text
    assert f"{SHARE} {100 * answer.value:.0f} %" in text.replace("\xa0", " ")
    assert "95 % interval {:.0f} % to {:.0f} %".format(*(100 * edge for edge in answer.interval)) in text
    assert re.search(rf"\b{answer.follicles} follicles? (is|are) outlined", text) and "probability" not in text
    assert "Research only" in text and "Model iustnet" in text
    assert len(at.find("#outlines polygon")) >= answer.follicles
    at.picture("page-answer")
    at.click("#why")
    at.wait("#outlines .slider")
    at.script("const s = document.querySelector('#outlines input'); s.value = 20; s.dispatchEvent(new Event('input'));")
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
    answer = Served(shown).answer(phantoms[1])
    assert at.driver.execute_async_script(PASTE, base64.b64encode(phantoms[1].read_bytes()).decode()) == ""
    at.click("#frame button[aria-label='Paste from clipboard']")
    at.wait(".verdict")
    assert f"{SHARE} {100 * answer.value:.0f} %" in at.wait("#answer").text


@pytest.fixture(scope="session")
def sector(tmp_path_factory, phantoms):
    """A file of a frame of 600 x 400 pixels, in which a phantom lies in noise at BOX."""
    pixels = np.random.default_rng(0).integers(0, 60, (400, 600), dtype=np.uint8)
    pixels[100:300, 200:500] = np.asarray(Image.open(phantoms[0]).convert("L"))
    path = tmp_path_factory.mktemp("sector") / "sector.png"
    Image.fromarray(pixels).save(path)
    return path


BOX = (200, 100, 500, 300)
PLACE = "const r = document.querySelector('.stack').getBoundingClientRect(); return [r.x, r.y, r.width / 600]"


def boxed(window) -> list[int]:
    return [int(edge) for edge in window.wait(".box").get_attribute("data-box").split(",")]


def test_a_box_is_drawn_with_the_mouse_changed_with_keys_and_answered(at, shown, sector):
    at.give(UPLOAD, sector)
    at.wait("#answer .answer", "draw a box around one")
    assert boxed(at) == [0, 0, 600, 400]
    at.script("document.querySelector('.stack').scrollIntoView({block: 'center'})")
    left, top, scale = at.script(PLACE)
    drag = ActionChains(at.driver, duration=20)
    drag.w3c_actions.pointer_action.move_to_location(int(left + 150 * scale), int(top + 60 * scale)).pointer_down()
    for x, y in ((300, 160), (450, 260)):
        drag.w3c_actions.pointer_action.move_to_location(int(left + x * scale), int(top + y * scale))
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    assert boxed(at) == pytest.approx([150, 60, 450, 260], abs=3)
    box = at.wait(".box")
    while boxed(at)[0] < BOX[0]:
        box.send_keys(Keys.ARROW_RIGHT)
    while boxed(at)[3] < BOX[3]:
        box.send_keys(Keys.SHIFT + Keys.ARROW_DOWN)
    assert "Box: " in at.wait("#outlines output").text
    asked = tuple(boxed(at))
    at.click("#ask")
    answer = Served(shown).answer(sector, box=asked)
    at.wait(".verdict", "" if answer.interval else "Cannot say")
    at.until(lambda: (answer.reasons or [SHARE])[-1].split(" (")[0] in at.wait("#answer").text)
    assert boxed(at) == [*asked] and len(at.find("#outlines polygon")) >= (answer.follicles or 0)
    at.picture("page-box")
    assert at.complaints() == []


def test_a_finger_resizes_the_box_on_a_phone(at, page, sector):
    at.phone(360)
    at.open(page, UPLOAD)
    at.give(UPLOAD, sector)
    at.wait(".box")
    at.script("document.querySelector('.stack').scrollIntoView({block: 'center'})")
    left, top, scale = at.script(PLACE)
    for start, end in (((2, 2), BOX[:2]), ((598, 398), BOX[2:])):
        for kind, part in (("touchStart", 0), ("touchMove", 0.5), ("touchMove", 1), ("touchEnd", None)):
            x, y = (a + (b - a) * (part or 0) for a, b in zip(start, end, strict=True))
            points = [] if part is None else [{"x": left + x * scale, "y": top + y * scale}]
            at.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)
    assert boxed(at) == pytest.approx(BOX, abs=8)
    at.click("#ask")
    at.wait("#answer .answer")
    at.picture("page-box-phone")
    assert at.script("return [document.documentElement.scrollWidth, document.body.scrollWidth]") == [360, 360]


def test_what_is_no_scan_is_refused_with_its_reason(at, strangers):
    for path, refusal in strangers.items():
        at.open(at.driver.current_url, UPLOAD)
        at.give(UPLOAD, path)
        text = at.wait("#answer .answer", "Cannot say").text
        assert f"Refused: {refusal}." in text and "among phantoms" not in text
        assert len(text.splitlines()) >= 4  # a sentence says why
        at.picture(f"page-refused-{path.stem}")


def test_an_example_answers_and_a_cleared_frame_takes_its_answer_along(at):
    at.click("#examples button")
    at.wait(".verdict")
    at.click("#frame button[aria-label='Remove Image']")
    at.wait("#answer .hint")
    assert at.find("#outlines polygon") == [] and at.find(".box") == []


def test_a_batch_becomes_a_table_and_a_file(at, tmp_path, phantoms, strangers):
    at.command("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    at.click("button[role=tab]", "Batch")
    files = [*phantoms, *strangers]
    at.give(SEVERAL, *files)
    text = at.wait("#table section", f"{len(files)} answers").text
    assert len(at.find("#table tbody tr")) == len(files) and SHARE.lower() in text
    at.picture("page-batch")
    at.click("#table a.save")
    at.until((tmp_path / "answers.csv").exists)
    rows = list(csv.DictReader((tmp_path / "answers.csv").open()))
    assert [row["image"] for row in rows] == [path.name for path in files]
    assert f"{sum(row['decision'] == 'cannot say' for row in rows)} of them “cannot say”" in text
    wide = "const t = document.querySelector('.wide'); return t.scrollWidth <= t.clientWidth"
    assert at.script(wide)  # no scroll bar
    assert [row["refusal"] for row in rows[len(phantoms) :]] == list(strangers.values())


@pytest.mark.parametrize("width", [360, 390])
def test_a_phone_shows_all_of_it_and_scrolls_in_one_direction(at, page, phantoms, strangers, width):
    at.phone(width)
    at.open(page, UPLOAD)
    at.give(UPLOAD, phantoms[0])
    at.wait(".verdict")
    top = "return document.querySelector('.verdict').getBoundingClientRect().top / innerHeight"
    at.until(lambda: 0 <= at.script(top) < 0.8, 5)  # the answer is on the screen, not below it
    assert at.script("return document.querySelector('#answer').getBoundingClientRect().width") > 320  # one column
    at.picture(f"page-phone-{width}")
    for tab, shown in (("One frame", "#answer"), ("Batch", "#frames"), ("API", ".prose pre")):
        at.click("button[role=tab]", tab)
        at.wait(shown)
        if tab == "Batch":
            at.give(SEVERAL, *phantoms, *strangers)
            at.wait("#table tbody")
            at.picture(f"page-phone-{width}-batch")
        assert at.script("return [document.documentElement.scrollWidth, document.body.scrollWidth]") == [width, width]


FOCUSED = """const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
const name = (e.labels && e.labels[0] || e).innerText || e.getAttribute('aria-label') || e.tagName;
const seen = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2 && b.width * b.height > 0;
return [name.trim(), seen || e === document.body]"""


def tab_to(window, name: str) -> None:
    """Press Tab until the focus is on what is so named; every stop must be seen."""
    stops = []
    for _ in range(40):
        window.keys(Keys.TAB)
        stop, seen = window.script(FOCUSED)
        assert seen, f"the focus on {stop!r} cannot be seen"
        if name in stop and not stop.startswith("Polycystic"):  # the body, between end and start
            return
        stops.append(stop)
    pytest.fail(f"Tab does not come to {name!r}, only to {stops}")


def test_the_keyboard_is_enough(at, phantoms):
    at.command("Page.setInterceptFileChooserDialog", enabled=True)
    at.events()
    tab_to(at, "Drop, paste or choose a frame")
    at.keys(Keys.ENTER)
    chosen = at.until(lambda: [event for event in at.events() if event["method"] == "Page.fileChooserOpened"])
    field = chosen[0]["params"]["backendNodeId"]
    at.command("DOM.setFileInputFiles", files=[str(phantoms[0])], backendNodeId=field)
    at.command("Page.setInterceptFileChooserDialog", enabled=False)
    at.wait(".verdict")
    tab_to(at, "Phantom 2")
    before = at.wait("#outlines img").get_attribute("src")
    at.keys(Keys.SPACE)
    at.until(lambda: at.wait("#outlines img").get_attribute("src") != before)
    tab_to(at, "Show what the answer rests on")
    at.keys(Keys.ENTER)
    at.wait("#outlines .slider")
    tab_to(at, "Strength of the map")
    at.keys(Keys.ARROW_RIGHT)
    assert at.script("return document.querySelector('#outlines input').value") == "61"


def test_a_full_queue_is_told_and_the_next_try_answered(window, shown, phantoms, tmp_path):
    jobs = []
    with crowded(shown, tmp_path / "log.txt", waiting=1, seconds=6) as address:
        window.open(address, UPLOAD)
        clients = [Client(address, verbose=False) for _ in range(3)]
        for client, state in zip(clients, ("PROCESSING", "PROCESSING", "IN_QUEUE"), strict=True):
            jobs.append(client.submit(image=handle_file(phantoms[0]), api_name="/predict"))
            window.until(lambda state=state: jobs[-1].status().code.name == state)
        window.give(UPLOAD, phantoms[1])
        text = window.wait(".toast-body", "busy").text
        window.picture("page-queue")
        assert "try again" in text and window.find(".verdict") == []
        assert [job.result(timeout=120)["model"] for job in jobs] == ["iustnet"] * 3
        window.open(address, UPLOAD)
        window.give(UPLOAD, phantoms[1])
        window.wait(".verdict")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious_and_no_request_leaves_this_machine(window, page, axe, phantoms, strangers, dark):
    lightness, faults = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)", {}
    if dark:  # of the visitor's own choosing
        window.dark()

    def reached(state: str, selector: str) -> None:
        window.wait(selector)
        faults[state] = findings(window, axe)

    window.open(page, UPLOAD)
    reached("empty", UPLOAD)
    red, green, blue, *_ = window.script(lightness)
    assert max(red, green, blue) < 60 if dark else min(red, green, blue) > 200
    window.give(UPLOAD, phantoms[0])
    window.wait(".verdict")
    window.picture(f"page-{'dark' if dark else 'light'}")
    window.click("#why")
    reached("answer", "#outlines .slider")
    window.click("button[role=tab]", "Batch")
    window.give(SEVERAL, *phantoms[:2], *strangers)
    reached("batch", "#table tbody")
    window.click("button[role=tab]", "API")
    reached("api", ".prose pre")
    assert {state: rules for state, rules in faults.items() if rules} == {}, json.dumps(faults, indent=1)
    time.sleep(1)  # a beacon would come late
    addresses = window.addresses()
    assert len(addresses) > 20 and any("/gradio_api/upload" in address for address in addresses)
    foreign = ["https://example.org/a", "wss://example.org"]
    assert outside(addresses) == [] and outside([*foreign, "http://127.0.0.1:1/a"]) == foreign


def findings(window, axe: str) -> dict:
    """Return the serious and critical findings of axe-core: each rule with what it found fault with."""
    time.sleep(0.5)  # colours fade in
    window.script(axe)
    run = "axe.run(document, {resultTypes: ['violations']}).then(arguments[0], e => arguments[0]({e: `${e}`}))"
    return {
        rule["id"]: [f"{node['target']}: {node['failureSummary']}" for node in rule["nodes"][:4]]
        for rule in window.driver.execute_async_script(run)["violations"]
        if rule["impact"] in ("serious", "critical")
    }
