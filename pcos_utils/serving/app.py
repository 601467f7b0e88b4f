"""The web page, on this machine alone: a frame in, a calibrated answer out. Nothing is kept and nothing is fetched."""

import atexit
import logging
import os
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from pathlib import Path

# Gradio reads these when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["DO_NOT_TRACK"] = "1"

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from pcos_utils.config import CAVEAT  # noqa: E402
from pcos_utils.serving import page, saliency, words  # noqa: E402
from pcos_utils.serving.gate import Gate  # noqa: E402
from pcos_utils.serving.predict import DECISIONS, Answer, Served  # noqa: E402
from pcos_utils.serving.upload import MAX_FILE, Upload, frame, frames, keep_apart, size_of  # noqa: E402

PATIENCE = 10  # seconds for one frame; then the visitor is told so
BATCH_PATIENCE = 60  # seconds for a batch
WAITING = 40  # requests in the queue; the next is told that it is full
AT_ONCE = 2
SESSIONS = 100  # visitors whom Gradio remembers, 50 kB each; the page itself keeps nothing of them
# Tighter than the loader's own: a page is open to anybody.
PIXELS, SIDE = 12_000_000, 8_192
STYLE = Path(__file__).with_name("page.css")
# Gradio confines a style sheet to the inside of the page; the margins around it are not inside.
OUTSIDE = ".gradio-container{margin:0 auto!important}"
OUTSIDE += "@media (max-width:640px){.gradio-container .main.app{padding:.5rem!important}}"
# A wide table or line of code scrolls by itself; the page around it stays as wide as the phone.
OUTSIDE += "gradio-app>*,.gradio-container{min-width:0!important;max-width:min(1080px,100vw)!important}"
OUTSIDE += ".gradio-container :is(.wrap,.contain,.contain>.column){min-width:0!important}"
# Gradio names its buttons for files otherwise than they read; who speaks to the page says what stands on them.
NAMES = """new MutationObserver(() => document.querySelectorAll("button[aria-dropeffect][aria-label]").forEach(
  (one) => one.textContent.trim() && one.removeAttribute("aria-label")
)).observe(document, {childList: true, subtree: true, attributeFilter: ["aria-label"]})"""
# On a phone the answer lies below the frame; it comes into view.
LOOK = "() => document.querySelector('#answer .answer')?.scrollIntoView({block: 'nearest'})"
log = logging.getLogger("pcos.page")


class Desk:
    """A served model behind the page's limits. Every method takes what a visitor sent and never raises."""

    def __init__(self, model: Served):
        self.model = model
        self.pool = ThreadPoolExecutor(AT_ONCE)

    def answer(self, upload: Upload | None) -> Answer:
        """The answer to one upload, within PATIENCE."""
        if upload is None:
            made = self._refused("image", "empty", "No image has arrived; drop one or paste it.")
        elif upload.problem:
            made = self._refused(upload.name, "unreadable", upload.problem)
        else:
            made = self._timed(upload.name, lambda: self._within_limits(upload))
        # Neither name nor pixels: a log outlives the answer.
        log.info("answered: %s%s, %.3f s", made.decision, f" ({made.refusal})" if made.refusal else "", made.seconds)
        return made

    def show(self, upload: Upload | None):
        """What the page shows for one upload: the frame again, the answer, the outlines, the button for the map."""
        if upload is None:
            return None, page.EMPTY, "", gr.update(visible=False)
        made = self.answer(upload)
        kept = page.picture(made.pixels) if made.pixels is not None else None
        answered = gr.update(visible=made.numbered is not None)
        return kept, page.answer(made, self.model.card), page.outlined(made), answered

    def explain(self, upload: Upload | None) -> str:
        """The outlined frame under a map of what the answer rests on, or a sentence where that took too long."""
        made = self.answer(upload)
        if made.numbered is None:
            return page.outlined(made)
        found = self._timed("", lambda: saliency.rests_on(self.model, made.pixels))
        if isinstance(found, Answer):
            return page.outlined(made) + page.note("The map could not be drawn in time; the answer stands.")
        return page.outlined(made, page.heat(found), saliency.READING[self.model.counts])

    def several(self, uploads: list[Upload]) -> str:
        """A table of answers; once BATCH_PATIENCE is over, the rest are rows that say so."""
        made, started = [], time.monotonic()
        for upload in uploads:
            if time.monotonic() - started < BATCH_PATIENCE:
                made.append(self.answer(upload))
            else:
                reason = f"The batch took more than {BATCH_PATIENCE} s; send the rest again."
                made.append(self._refused(upload.name, "too slow", reason))
        return page.batch(made) if made else ""

    def record(self, upload: Upload | None) -> dict:
        """The answer as JSON, for programs."""
        return self.answer(upload).record()

    def example(self, path: Path):
        """A phantom, as if it had been dropped."""
        return self.show(Upload(path.name, path.read_bytes()))

    def _timed(self, name: str, work):
        # What the work gives, or a refusal: nobody waits longer than PATIENCE, and no error reaches the visitor.
        waiting = self.pool.submit(work)
        try:
            return waiting.result(PATIENCE)
        except Late:
            waiting.cancel()
            return self._refused(name, "too slow", f"The image took more than {PATIENCE} s; send a smaller one.")
        except Exception:  # a visitor gets a sentence; what went wrong stays on this machine, without the image's name
            log.exception("a frame could not be answered")
            return self._refused(name, "failed", "Something went wrong here; the image was not answered.")

    def _within_limits(self, upload: Upload) -> Answer:
        size = size_of(upload.content)
        if size and (size[0] * size[1] > PIXELS or max(size) > SIDE):
            reason = f"The picture has {size[0]:,} x {size[1]:,} pixels; at most {PIXELS:,} are answered here."
            return self._refused(upload.name, "too large", reason)
        return self.model.answer(upload.content, upload.name)

    def _refused(self, name: str, refusal: str, reason: str) -> Answer:
        return Answer(name, DECISIONS[2], refusal=refusal, reasons=[reason], facts=self.model.facts)


def build(model: Served) -> gr.Blocks:
    """The page of a served model, not yet running."""
    desk = Desk(model)
    with gr.Blocks(title=words.TITLE, analytics_enabled=False, delete_cache=(60, 120)) as made:
        gr.HTML(words.header(CAVEAT))
        with gr.Tab("One frame"):
            with gr.Row(equal_height=False):
                with gr.Column(min_width=260):
                    shot = frame(
                        label="Ultrasound frame", sources=["upload", "clipboard"],
                        height=320, buttons=["fullscreen"], alt_text="The frame to be answered",
                        placeholder=f"Drop, paste or choose a frame\n(at most {MAX_FILE // 1_000_000} MB)",
                        elem_id="frame",
                    )  # fmt: skip
                    gr.HTML("<h2 class='label'>Or choose a phantom, a simulated scan</h2>")
                    with gr.Row(elem_id="examples"):
                        phantoms = sorted((model.folder / "examples").glob("*.png"), key=lambda path: path.stem[-1])
                        buttons = [gr.Button(words.example(path.stem), size="sm", min_width=130) for path in phantoms]
                with gr.Column(min_width=260):
                    verdict = gr.HTML(page.EMPTY, elem_id="answer")
                    why = gr.Button("Show what the answer rests on", visible=False, elem_id="why")
                    outlines = gr.HTML(elem_id="outlines")
            shown = [shot, verdict, outlines, why]
            one = dict(show_progress="minimal", api_visibility="private")
            shot.upload(desk.show, shot, shown, **one).then(None, js=LOOK, api_visibility="private")
            shot.clear(lambda: desk.show(None)[1:], None, shown[1:], api_visibility="private")
            why.click(desk.explain, shot, outlines, **one)
            for button, path in zip(buttons, phantoms, strict=True):
                asked = button.click(lambda path=path: desk.example(path), None, shown, **one)
                asked.then(None, js=LOOK, api_visibility="private")
        with gr.Tab("Batch"):
            several = frames(label="Ultrasound frames", elem_id="frames", height=180)
            table = gr.HTML(elem_id="table")
            several.upload(desk.several, several, table, **one).then(
                lambda: None, None, several, api_visibility="private"
            )
        with gr.Tab("API"):
            gr.HTML(words.API)
        with gr.Row(visible=False):
            sent, told, ask = (
                frame(label="image"),
                gr.JSON(label="answer"),
                gr.Button(),
            )
        ask.click(desk.record, sent, told, api_name="predict", api_description=words.API_LINE)
        gr.HTML(words.panel(model.card))
    return made.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)


def run(folder: str | Path, *, host: str = "127.0.0.1", port: int = 7860, wait: bool = True):
    """The running page's application, address and share address (none); with ``wait`` until it is stopped."""
    # A private place of its own: uploads lie there for the milliseconds until they are read.
    place = tempfile.mkdtemp(prefix="pcos-page-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = place
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "localhost,127.0.0.1"]))
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    keep_apart()
    made = build(Served(folder, threads=1))  # AT_ONCE frames are the parallelism
    return made.launch(
        server_name=host, server_port=port, share=False, inbrowser=False, show_error=False, quiet=True, max_threads=16,
        max_file_size=MAX_FILE, allowed_paths=[], enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False,
        run_history=False, footer_links=[], strict_cors=True, prevent_thread_lock=not wait,
        state_session_capacity=SESSIONS,
        app_kwargs={"middleware": [Middleware(Gate)], "docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"],
                             font_mono=["ui-monospace", "monospace"]),
        css_paths=STYLE, head=f"<style>{OUTSIDE}</style><script>{NAMES}</script>",
    )  # fmt: skip
