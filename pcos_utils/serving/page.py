"""The texts of the page and its parts as HTML: answer, gauge, outlined frame, table. All text is escaped."""

import base64
import io
from html import escape
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage

from pcos_utils.config import CAVEAT
from pcos_utils.serving.answer import BOTH, FIELDS, Answer
from pcos_utils.serving.boxes import Box, text

PREVIEW = 900  # px of the longer side of what is shown
KEPT = 2000  # px of the longer side of the frame that the browser keeps, to ask about a box of it
COLUMNS = ("image", "box", "decision", "value", "low", "high", "follicles", "reasons")
TITLE = "Polycystic ovarian morphology in an ultrasound frame: a research page"
EMPTY = "<p class='hint'>Drop a frame, paste one, or choose a phantom. The answer appears here.</p>"
HEADER = f"""<header class='head'><h1>Polycystic ovarian morphology in one ultrasound frame</h1>
<p class='caveat'><strong>{CAVEAT}</strong> Do not use it for a decision about a person.</p></header>"""
API_LINE = (
    "The calibrated answer to an image, or to a box of it, as JSON, as pcos predict --json gives it. Research only."
)
API = """## Ask from a program
`image` is the frame; `box`, which may be left out, is its part to answer, `x0,y0,x1,y1` in pixels.
```python
from gradio_client import Client, handle_file
client = Client("http://127.0.0.1:7860")
client.predict(image=handle_file("frame.png"), box="120,80,420,280", api_name="/predict")
```
```sh
at=http://127.0.0.1:7860/gradio_api
path=$(curl -s -F files=@frame.png $at/upload | cut -d '"' -f 2)
event=$(curl -s --json '{"data": [{"path": "'$path'"}, "120,80,420,280"]}' $at/call/predict | cut -d '"' -f 4)
curl -s $at/call/predict/$event
```
The answer is that of `pcos predict --json`: `decision` is polycystic, not polycystic or cannot say, and `scale` says
what `value` is. When too many wait, the page says that its queue is full; try again a little later."""
# Gradio applies page.css only inside the page. Around it, what is wide must scroll by itself, so that the page stays as
# wide as the phone; and file buttons need no label but their text, so that voice control finds the visible words.
HEAD = """<style>.gradio-container{margin:0 auto!important}
@media (max-width:640px){.gradio-container .main.app{padding:.5rem!important}}
gradio-app>*,.gradio-container{min-width:0!important;max-width:min(1080px,100vw)!important}
.gradio-container :is(.wrap,.contain,.contain>.column){min-width:0!important}</style>
<script>new MutationObserver(() => document.querySelectorAll("button[aria-dropeffect][aria-label]").forEach(
  (one) => one.textContent.trim() && one.removeAttribute("aria-label")
)).observe(document, {childList: true, subtree: true, attributeFilter: ["aria-label"]})</script>"""
HEAD += f"<script>{Path(__file__).with_name('box.js').read_text(encoding='utf-8')}</script>"
LOOK = "() => document.querySelector('#answer .answer')?.scrollIntoView({block: 'nearest'})"  # it is below on a phone
BOXED = "(frame) => [frame, window.pcosBox()]"  # what the browser's box adds to a question about its frame


def data_url(content: bytes, kind: str) -> str:
    """Return a file's content as a data URL."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def picture(pixels: np.ndarray, side: int = PREVIEW) -> str:
    """Return an image, uint8 (H, W, 3) or with alpha, as a data URL: a PNG of at most ``side`` pixels a side."""
    image, content = Image.fromarray(pixels), io.BytesIO()
    image.thumbnail((side, side))
    image.save(content, "PNG", compress_level=3)
    return data_url(content.getvalue(), "image/png")


def verdict(answer: Answer, card: dict) -> str:
    """Return an answer as HTML: decision, gauge, interval, count and reasons."""
    kind = {"polycystic": "yes", "not polycystic": "no"}.get(answer.decision, "unsure")
    title = "Cannot say" if kind == "unsure" else f"{answer.decision.capitalize()} morphology"
    lines = [f"<h2 class='verdict {kind}'>{title}</h2>"]
    if answer.refusal and answer.refusal != BOTH:
        lines.append(f"<p class='why'><strong>Refused: {escape(answer.refusal)}.</strong></p>")
    lines += [f"<p class='why'>{escape(reason)}</p>" for reason in answer.reasons]
    if answer.interval:
        shares = (answer.value, *answer.interval, answer.threshold)
        value, low, high, threshold = (f"{100 * share:.0f}\N{NO-BREAK SPACE}%" for share in shares)
        x = [round(10 + 300 * share, 1) for share in shares]
        ticks = ((10, "start", 0), (160, "middle", 50), (310, "end", 100))
        ticks = (f"<text x='{at}' y='62' text-anchor='{to}' class='tick'>{n}&#8239;%</text>" for at, to, n in ticks)
        lines.append(
            "<svg class='gauge' viewBox='0 0 320 66' role='img' "
            f"aria-label='{value}, 95 % interval {low} to {high}, threshold {threshold}'>"
            "<rect x='10' y='24' width='300' height='12' rx='6' class='track'/>"
            f"<rect x='{x[1]}' y='24' width='{max(2, round(x[2] - x[1], 1))}' height='12' rx='6' class='band'/>"
            f"<line x1='{x[3]}' x2='{x[3]}' y1='16' y2='44' class='threshold'/>"
            f"<circle cx='{x[0]}' cy='30' r='9' class='mark'/>{''.join(ticks)}</svg>"
            f"<p>{answer.facts['scale'].capitalize()} <strong>{value}</strong>, 95&nbsp;% interval {low} to {high}. It "
            f"is called polycystic from {threshold} on. Calibrated on {escape(answer.facts['calibrated'])}.</p>"
            f"<p>{_outlined(answer)} in this section, with {answer.follicle_pixels} pixels of the frame on average. "
            f"{escape(answer.sizes())} " + (f"{answer.counted.capitalize()}.</p>" if answer.counted else "</p>")
        )
    model = escape("Model {model}, data {data}, run {run}".format(**card))
    lines.append(f"<p class='small'>{model}; {1000 * answer.seconds:.0f} ms. Research only.</p>")
    return f"<section class='answer' role='status' aria-live='polite'>{''.join(lines)}</section>"


def _outlined(answer: Answer) -> str:
    return f"<strong>{answer.follicles}</strong> {'follicle is' if answer.follicles == 1 else 'follicles are'} outlined"


def outlines(answer: Answer, heat: np.ndarray | None = None, reading: str = "") -> str:
    """Return the frame with outlined follicles and the box as HTML, under a map (H, W) of the box if there is one."""
    if answer.pixels is None:
        return ""
    shapes, slider, over = [], "", ""
    height, width = answer.pixels.shape[:2]
    if answer.interval:
        rows, columns = answer.numbered.shape
        for number, place in enumerate(ndimage.find_objects(answer.numbered), start=1):
            mask, corner = (answer.numbered[place] == number).astype(np.uint8), (place[1].start, place[0].start)
            for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner)[0]:
                points = (contour[:, 0] + 0.5) * (width / columns, height / rows)
                shapes.append(f"<polygon points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}'/>")
    if heat is not None:
        painted = np.zeros((*heat.shape, 4), np.uint8)
        # Orange above zero, blue below, and transparent at zero.
        painted[..., :3] = np.where(heat[..., None] > 0, (230, 97, 0), (26, 133, 255))
        painted[..., 3] = (230 * np.abs(heat) / (np.abs(heat).max() + 1e-9)).astype(np.uint8)
        place = _place(answer.part or (0, 0, width, height), width, height)
        over = f"<img class='heat' alt='' src='{picture(painted)}' style='opacity:.6;{place}'>"
        slider = (
            "<label class='slider'>Strength of the map <input type='range' min='0' max='100' value='60' "
            "oninput=\"this.closest('figure').querySelector('.heat').style.opacity=this.value/100\"></label>"
            f"<p class='small'>{escape(reading)} A map shows what the network used, not whether that was right.</p>"
        )
    said = f"{_outlined(answer)} by a network that learned from phantoms alone." if answer.interval else ""
    size, output, box = _box(answer)
    return (
        f"<figure class='frame'><div class='stack' data-size='{size}'><img alt='The frame that was answered' "
        f"src='{picture(answer.pixels)}'>{over}<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none' "
        f"role='img' aria-label='Outlines of {answer.follicles or 0} follicles'>{''.join(shapes)}</svg>{box}</div>"
        f"<p class='small'><output>{output}</output>. Drag it or its corners, or press arrow keys to move it and Shift "
        f"with arrow keys to resize it.</p><figcaption>{said}</figcaption>{slider}</figure>"
    )


def _place(box: Box, width: int, height: int) -> str:
    x0, y0, x1, y1 = box
    parts = {"left": x0 / width, "top": y0 / height, "width": (x1 - x0) / width, "height": (y1 - y0) / height}
    return ";".join(f"{name}:{100 * part:.2f}%" for name, part in parts.items())


def _box(answer: Answer) -> tuple[str, str, str]:
    """Return the size of the frame that the browser keeps, the box in words, and box and suggestions as HTML."""
    height, width = answer.pixels.shape[:2]
    whole, scale = (0, 0, width, height), min(1, KEPT / max(height, width))

    def kept(box: Box) -> tuple[int, ...]:
        """Return the box in pixels of the frame that the browser keeps."""
        return tuple(round(edge * scale) for edge in box)

    box = answer.box or (answer.suggested or [whole])[0]
    x0, y0, x1, y1 = kept(box)
    corners = "".join(f"<i data-corner='{corner}'></i>" for corner in ("nw", "ne", "sw", "se"))
    shown = (
        f"<div class='box{' whole' * (box == whole)}' tabindex='0' role='group' data-box='{x0},{y0},{x1},{y1}' "
        "aria-label='Box of the answer: arrow keys move it, Shift with arrow keys resizes it' "
        f"style='{_place(box, width, height)}'>{corners}</div>"
    )
    for number, each in enumerate(answer.suggested if len(answer.suggested) > 1 else [], start=1):
        style = _place(each, width, height)
        shown += f"<button type='button' class='choice' data-choice='{text(kept(each))}' style='{style}' "
        shown += f"aria-label='Answer ovary {number}'>{number}</button>"
    words = f"Box: {x1 - x0} \u00d7 {y1 - y0} pixels, from {x0}, {y0}"
    return text(kept((width, height))), words, shown


def batch(answers: list[Answer]) -> str:
    """Return a table of answers as HTML, and a link that saves it as CSV."""
    table = pd.DataFrame([answer.row() for answer in answers], columns=FIELDS, dtype=object).fillna("")
    content = table.map(spreadsheet_cell).to_csv(index=False, lineterminator="\n").encode()
    file = data_url(content, "text/csv;charset=utf-8")
    shown = table[[*COLUMNS]].rename(columns={"value": next(iter(table.scale), "value")})
    shown = shown.loc[:, (shown != "").any() | (shown.columns != "box")]
    shown = shown.to_html(index=False, border=0, float_format="{:.2f}".format)
    unsure = sum(answer.decision == "cannot say" for answer in answers)
    count = f"{len(answers)} {'answer' if len(answers) == 1 else 'answers'}"
    return (
        f"<section role='status' aria-live='polite'><p>{count}, {unsure} of them “cannot say”. "
        f"<a class='save' download='answers.csv' href='{file}'>Save as CSV</a></p>"
        f"<div class='wide' tabindex='0' role='region' aria-label='Answers'>{shown}</div></section>"
    )


def spreadsheet_cell(value: object) -> object:
    """Return a cell's value that no spreadsheet takes for a formula: a text that looks like one gets an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
