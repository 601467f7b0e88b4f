"""What the page says: its head, what it can and cannot tell, how programs ask. Numbers come from the model's card."""

from html import escape

TITLE = "Polycystic ovarian morphology in an ultrasound frame: a research page"
API_LINE = "The calibrated answer to one image as JSON, as pcos predict --json gives it. Research only."
API = """<section class='prose'><h2>Ask from a program</h2>
<p>The page answers at one named address, <code>/predict</code>: an image in, the answer as JSON out.</p>
<pre><code>from gradio_client import Client, handle_file
client = Client("http://127.0.0.1:7860")
client.predict(handle_file("frame.png"), api_name="/predict")</code></pre>
<p>The answer has <code>image</code>, <code>decision</code> (polycystic, not polycystic or cannot say),
<code>probability</code>, <code>interval</code>, <code>follicles</code>, <code>refusal</code>, <code>reasons</code>,
<code>model</code>, <code>data</code>, <code>run</code>, <code>use</code> and <code>seconds</code>. When too many wait,
the page says that its queue is full; try again a little later.</p></section>"""


def percent(share: float, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage that no line breaks: 41 %."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"


def header(caveat: str) -> str:
    """The head of the page."""
    return (
        "<header class='head'><h1>Polycystic ovarian morphology in one ultrasound frame</h1>"
        f"<p class='caveat'><strong>{escape(caveat)}</strong> Do not use it for a decision about a person.</p></header>"
    )


def example(stem: str) -> str:
    """What the button of an example says, from its file's name: phantom_pcom_2."""
    _, kind, number = stem.split("_")
    return f"Phantom {number}: {'polycystic' if kind == 'pcom' else 'normal'}"


def panel(card: dict) -> str:
    """What the page can and cannot tell, in plain words."""
    usual, sources = card["suitability"], card["sources"]
    confidence = 1 - card["conformal"]["alpha"]
    judged = (
        f"On {sources['polycystic']} polycystic and {sources['normal']} normal source pictures that it had not seen "
        f"({escape(card['data'])}), it ranked a polycystic one above a normal one {percent(card['auc'])} of the "
        f"time; a coin would reach {percent(0.5)}."
    )
    can = [
        "Whether a frame looks more like the polycystic or the normal pictures of one data set, with a probability "
        "that was calibrated on pictures it had not seen.",
        "How sure it can be: the interval shows how far the probability would move with other calibration pictures.",
        "Where it sees follicles, outlined one by one, for you to check.",
        f"When it cannot say: no ovarian scan, too small, too blurred, or neither answer ruled out at "
        f"{percent(confidence)} confidence.",
    ]
    cannot = [
        "<strong>Whether somebody has PCOS.</strong> A frame shows morphology; the syndrome needs clinic and "
        "laboratory.",
        "How many follicles an ovary has: one section shows some of them.",
        "Anything about endometrium, cysts, tumours or pregnancy: a frame that shows them may still be answered.",
        "Whether it holds for your scanner and your patients: that has not been tested.",
        f"All that it should refuse: {percent(usual['false_refusals'], 1)} of usual phantoms are refused by mistake, "
        "and a picture that resembles a scan may pass.",
    ]
    lists = "".join(
        f"<div><h3>It can tell</h3><ul>{''.join(f'<li>{line}</li>' for line in can)}</ul></div>"
        f"<div><h3>It cannot tell</h3><ul>{''.join(f'<li>{line}</li>' for line in cannot)}</ul></div>"
    )
    return (
        f"<section class='prose panel'><h2>What this can and cannot tell</h2><p>{judged}</p>"
        f"<div class='two'>{lists}</div><h3>Your pictures</h3><p>They are read in the memory of the machine that runs "
        "this page, answered and forgotten: no file stays, nothing is sent on, the log holds neither names nor pixels. "
        "If this page is not on your own machine, your frame leaves it: send no patient's picture.</p></section>"
    )
