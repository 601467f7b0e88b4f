"""The parts of the web page as HTML: an answer, its gauge, the outlined frame, a table. Every text is escaped."""

import base64
import csv
import io
from html import escape

import cv2
import numpy as np
from PIL import Image

from pcos_utils.serving.predict import BOTH, FIELDS, Answer
from pcos_utils.serving.words import percent

PREVIEW = 900  # px of the longer side of what is shown
COLUMNS = ("image", "decision", "probability", "low", "high", "follicles", "reasons")
EMPTY = "<p class='hint'>Drop a frame, paste one, or choose a phantom. The answer appears here.</p>"


def picture(pixels: np.ndarray) -> str:
    """The image, uint8 (H, W, 3) or with alpha, as a data address; shrunk to PREVIEW, without loss otherwise."""
    image = Image.fromarray(pixels)
    image.thumbnail((PREVIEW, PREVIEW))
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def answer(made: Answer, card: dict) -> str:
    """An answer for a person: verdict, gauge, interval, count, reasons."""
    kind = {"polycystic": "yes", "not polycystic": "no"}.get(made.decision, "unsure")
    titles = {"yes": "Polycystic morphology", "no": "Not polycystic morphology", "unsure": "Cannot say"}
    lines = [f"<h2 class='verdict {kind}'>{titles[kind]}</h2>"]
    if made.refusal and made.refusal != BOTH:
        lines.append(f"<p class='why'><strong>Refused: {escape(made.refusal)}.</strong></p>")
    lines += [f"<p class='why'>{escape(reason)}</p>" for reason in made.reasons]
    if made.probability is not None:
        low, high = made.interval
        lines.append(gauge(made.probability, low, high, card["threshold"]))
        lines.append(
            f"<p>Probability of polycystic morphology <strong>{percent(made.probability)}</strong>, 95&nbsp;% "
            f"interval {percent(low)} to {percent(high)}. It is called polycystic from {percent(card['threshold'])} "
            "on.</p>"
        )
        lines.append(f"<p><strong>{made.follicles}</strong> {_follicles(made.follicles)} outlined in this section.</p>")
    lines.append(
        f"<p class='small'>Model {escape(card['model'])}, data {escape(card['data'])}, run {escape(card['run'])}; "
        f"{made.seconds * 1000:.0f} ms. Research only.</p>"
    )
    return f"<section class='answer' role='status' aria-live='polite'>{''.join(lines)}</section>"


def _follicles(count: int) -> str:
    return "follicle is" if count == 1 else "follicles are"


def gauge(value: float, low: float, high: float, threshold: float) -> str:
    """A bar from 0 to 100 % with the interval as a band, the probability as a mark and the threshold as a line."""
    x = [round(10 + 300 * part, 1) for part in (value, low, high, threshold)]
    said = f"Probability {percent(value)}, 95 % interval {percent(low)} to {percent(high)}, "
    said += f"threshold {percent(threshold)}"
    ticks = "".join(
        f"<text x='{10 + 3 * part}' y='62' text-anchor='{anchor}' class='tick'>{part}&#8239;%</text>"
        for part, anchor in ((0, "start"), (50, "middle"), (100, "end"))
    )
    return (
        f"<svg class='gauge' viewBox='0 0 320 66' role='img' aria-label='{said}'>"
        f"<rect x='10' y='24' width='300' height='12' rx='6' class='track'/>"
        f"<rect x='{x[1]}' y='24' width='{max(2, round(x[2] - x[1], 1))}' height='12' rx='6' class='band'/>"
        f"<line x1='{x[3]}' x2='{x[3]}' y1='16' y2='44' class='threshold'/>"
        f"<circle cx='{x[0]}' cy='30' r='9' class='mark'/>{ticks}</svg>"
    )


def note(text: str) -> str:
    """A sentence that is read out."""
    return f"<p class='small' role='status'>{escape(text)}</p>"


def outlined(made: Answer, heat: str = "", reading: str = "") -> str:
    """The frame with its follicles outlined and, where given, a map over it whose strength a slider sets.

    ``reading``: what the map's colours say.
    """
    if made.pixels is None or made.numbered is None:
        return ""
    height, width = made.numbered.shape
    shapes = []
    for number in range(1, int(made.numbered.max()) + 1):
        mask = np.ascontiguousarray(made.numbered == number).astype(np.uint8)
        for contour in cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]:
            points = " ".join(f"{column + 0.5},{row + 0.5}" for column, row in contour[:, 0])
            shapes.append(f"<polygon points='{points}'/>")
    count = int(made.numbered.max())
    slider = ""
    if heat:
        slider = (
            "<label class='slider'>Strength of the map <input type='range' min='0' max='100' value='60' "
            "oninput=\"this.closest('figure').querySelector('.heat').style.opacity=this.value/100\"></label>"
            f"<p class='small'>{escape(reading)} A map shows what the network used, not whether that was right.</p>"
        )
        heat = f"<img class='heat' alt='' src='{heat}' style='opacity:.6'>"
    return (
        f"<figure class='frame'><div class='stack'><img alt='The frame that was answered' src='{picture(made.pixels)}'>"
        f"{heat}<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none' role='img' "
        f"aria-label='Outlines of {count} follicles'>{''.join(shapes)}</svg></div>"
        f"<figcaption>{count} {_follicles(count)} outlined by a network that learned from phantoms alone.</figcaption>"
        f"{slider}</figure>"
    )


def heat(values: np.ndarray) -> str:
    """A map (H, W) as a picture: orange above zero, blue below, clear where there is nothing."""
    strength = np.abs(values) / (np.abs(values).max() + 1e-9)
    painted = np.zeros((*values.shape, 4), np.uint8)
    painted[..., :3] = np.where(values[..., None] > 0, (230, 97, 0), (26, 133, 255))
    painted[..., 3] = (230 * strength).astype(np.uint8)
    return picture(painted)


def batch(made: list[Answer]) -> str:
    """A table of answers, and a link that saves it."""
    rows = [one.row() for one in made]
    head = "".join(f"<th scope='col'>{name}</th>" for name in COLUMNS)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(row[name])}</td>' for name in COLUMNS)}</tr>" for row in rows)
    address = "data:text/csv;charset=utf-8;base64," + base64.b64encode(table(rows).encode()).decode()
    link = f"<a class='save' download='answers.csv' href='{address}'>Save as CSV</a>"
    unsure = sum(one.decision == "cannot say" for one in made)
    said = f"{len(made)} {'file' if len(made) == 1 else 'files'}, of which {unsure} cannot be said."
    return (
        f"<section role='status' aria-live='polite'><p>{said} {link}</p><div class='wide' tabindex='0' role='region' "
        f"aria-label='Answers'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def table(rows: list[dict]) -> str:
    """The rows as CSV, in which no cell is a formula to a spreadsheet."""
    stream = io.StringIO()
    written = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    written.writeheader()
    for row in rows:
        written.writerow({name: _harmless(value) for name, value in row.items()})
    return stream.getvalue()


def _harmless(value):
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value


def _cell(value) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else escape(str(value))
