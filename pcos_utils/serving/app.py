"""Run the web page: it answers frames on this machine, keeps nothing, and fetches nothing from other servers."""

import io
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from pcos_utils.config import StudyError
from pcos_utils.data import clinic, images
from pcos_utils.serving import boxes, clips, maps, page
from pcos_utils.serving.answer import Answer
from pcos_utils.serving.model import Served
from pcos_utils.serving.uploads import FOLDER, MAX_FILE, MAX_FILES, Uploads

# Gradio reads these when it is imported. It and the Hub's client would report to their makers, Gradio believes uploads
# to lie in FOLDER, and it must reach itself without a proxy; nothing else is reached, so that no proxy is needed.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
os.environ |= {"GRADIO_TEMP_DIR": FOLDER}
for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[name]

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402

AT_ONCE, WAITING = 2, 40  # requests that are answered and that may wait; further ones are told that the queue is full
MAX_FRAMES = 60  # of a clip
SESSIONS = 4  # visitors of whom Gradio remembers what they see; it cannot be told to forget all
log = logging.getLogger("pcos.page")


class Desk:
    """A served model and the uploads that it answers. No method raises, whatever a visitor sends."""

    def __init__(self, model: Served):
        self.model, self.uploads = model, Uploads()

    def answer(self, upload: dict | None, box: str | None = "", of_study: bool = False) -> Answer:
        """Return the answer to one upload, which Gradio describes by path, orig_name and url.

        ``box``: x0,y0,x1,y1, or "" for the whole frame. ``of_study``: as in ``Served.answer``.
        """
        name = named(upload)
        try:
            part = boxes.parse(str(box).split(",")) if box else None
            content = self.uploads.take(upload)
            answer = self.model.answer(content, name, box=part, of_study=of_study)
            if (total := images.count(io.BytesIO(content))) > 1:
                answer.reasons.append(f"This is the first of {total} frames; under Batch each is answered.")
        except StudyError as error:
            answer = self.model.refused(name, boxes.UNUSABLE, str(error))
        except images.ImageError as error:
            answer = self.model.refused(name, error.status, error.reason)
        except Exception:  # the log stays on this machine
            log.exception("a frame could not be answered")
            answer = self.model.refused(name, "failed", "Something went wrong here; the image was not answered.")
        # No name and no pixels, because the log outlives the answer.
        log.info("answered: %s (%s), %.3f s", answer.decision, answer.refusal, answer.seconds)
        return answer

    def show(self, upload: dict | None, box: str | None = "", of_study: bool = False) -> tuple:
        """Return what the page shows for one upload: the frame, the answer, the outlines and the two buttons."""
        answer = self.answer(upload, box, of_study)
        frame = None if answer.pixels is None else {"path": None, "url": page.picture(answer.pixels, page.KEPT)}
        ask, why = gr.update(visible=answer.pixels is not None), gr.update(visible=bool(answer.interval))
        return frame, page.verdict(answer, self.model.card), page.outlines(answer), ask, why

    def frames(self, upload: dict) -> Iterator[Answer]:
        """Yield the answer to an upload, or those to its frames where it has several."""
        name = named(upload)
        content = self.uploads.files.get((upload.get("path") or "").rpartition("/")[2], b"")
        of_clinic = content[128:132] == b"DICM" or clinic.kind(Path(name)) == "clip"
        of_clinic &= "SPACE_ID" not in os.environ  # there anybody may send
        if not of_clinic and images.count(io.BytesIO(content)) == 1:
            yield self.answer(upload)
            return
        try:
            with clips.in_memory(self.uploads.take(upload)) as path:
                yield from clips.answers(self.model, path, name, most=MAX_FRAMES)
        except images.ImageError as error:
            yield self.model.refused(name, error.status, error.reason)

    # Both work in steps: Gradio stops after a step when the visitor has gone.
    def explain(self, upload: dict | None, box: str | None = "") -> Iterator:
        """Yield nothing new while it works, then the outlined frame under a map of what the answer rests on."""
        answer, heat = self.answer(upload, box), None
        if answer.interval:
            for heat in maps.rests_on(self.model, boxes.enlarged(boxes.of(answer.pixels, answer.part))):
                if heat is None:
                    yield gr.skip()
        yield page.outlines(answer, heat, maps.READING[self.model.counts])

    def batch(self, uploads: list[dict] | None) -> Iterator:
        """Yield nothing new while it works, then the table of the answers to several uploads."""
        answers = []
        for upload in uploads or []:
            for answer in self.frames(upload):
                answers.append(answer)
                yield gr.skip()
        yield page.batch(answers)


def named(upload: dict | None) -> str:
    """Return the name of an upload, of printable letters."""
    return "".join(filter(str.isprintable, (upload or {}).get("orig_name") or ""))[-80:] or "image"


def build(desk: Desk) -> gr.Blocks:
    """Return the page of a served model, not yet running."""
    folder = desk.model.folder
    phantoms = sorted((folder / "examples").glob("*.png"), key=lambda path: path.stem[-1])
    untouched = dict(preprocess=False, postprocess=False)  # so that Gradio neither reads a file nor writes one
    private = dict(show_progress="minimal", api_visibility="private", **untouched)
    lane = dict(concurrency_id="answers", concurrency_limit=AT_ONCE)  # of answers; maps wait in one of their own
    answers = private | lane
    limits = f"(at most {MAX_FILE // 1_000_000} MB; DICOM files and clips under Batch)"
    scrolls = dict(fn=None, js=page.LOOK, api_visibility="private")
    with gr.Blocks(title=page.TITLE, analytics_enabled=False) as blocks:
        gr.HTML(page.HEADER)
        with gr.Tab("One frame"), gr.Row(equal_height=False):
            with gr.Column(min_width=260):
                frame = gr.Image(
                    label="Ultrasound frame", sources=["upload", "clipboard"], height=320, buttons=["fullscreen"],
                    placeholder=f"Drop, paste or choose a frame\n{limits}",
                    alt_text="The frame to be answered", elem_id="frame",
                )  # fmt: skip
                gr.HTML("<h2 class='label'>Or choose a phantom, a simulated scan</h2>")
                examples = gr.Row(elem_id="examples")
            with gr.Column(min_width=260):
                verdict = gr.HTML(page.EMPTY, elem_id="answer")
                why = gr.Button("Show what the answer rests on", visible=False, elem_id="why")
                outlines = gr.HTML(elem_id="outlines")
                ask = gr.Button("Answer this box", visible=False, elem_id="ask")
                box = gr.Textbox(label="box", visible=False)
        hidden = gr.update(visible=False)
        shown = [frame, verdict, outlines, ask, why]
        frame.upload(desk.show, frame, shown, **answers).then(**scrolls)
        frame.clear(lambda: (page.EMPTY, "", hidden, hidden), None, shown[1:], **answers)
        ask.click(desk.show, [frame, box], shown, js=page.BOXED, **answers).then(**scrolls)
        own = dict(concurrency_id="maps", concurrency_limit=1)
        why.click(desk.explain, [frame, box], outlines, js=page.BOXED, **private, **own)
        for path in phantoms:
            name = f"Phantom {path.stem[-1]}: {'polycystic' if '_pcom_' in path.stem else 'normal'}"
            upload = {"orig_name": path.name, "url": page.data_url(path.read_bytes(), "image/png")}
            with examples, gr.Column(min_width=100):
                gr.HTML(f"<img class='thumbnail' alt='' src='{upload['url']}'>")
                button = gr.Button(name, size="sm", min_width=100)
            button.click(lambda upload=upload: desk.show(upload, of_study=True), None, shown, **answers).then(**scrolls)
        with gr.Tab("Batch"):
            label = f"Ultrasound frames, DICOM files or clips, at most {MAX_FILES}"
            files = gr.File(file_count="multiple", label=label, elem_id="frames", height=180)
            table = gr.HTML(elem_id="table")
        event = files.upload(desk.batch, files, table, **answers)
        event.then(lambda: None, None, files, api_visibility="private")
        with gr.Tab("API"):
            gr.Markdown(page.API)
        with gr.Row(visible=False):
            image, part, record, go = gr.Image(), gr.Textbox("", label="box"), gr.JSON(label="answer"), gr.Button()
        public = dict(api_name="predict", api_description=page.API_LINE, **untouched)
        go.click(lambda image, box="": desk.answer(image, box).record(), [image, part], record, **public, **lane)
        gr.Markdown((folder / "card.md").read_text(encoding="utf-8"))
    return blocks.queue(max_size=WAITING, default_concurrency_limit=AT_ONCE, api_open=False)


def run(folder: Path, port: int | None = None) -> None:
    """Run the page of a served model until it is stopped, on this machine only; a Space is reached through its host.

    Raises StudyError if the port is in use.
    """
    host = "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1"
    if port:
        try:
            socket.create_server((host, port)).close()
        except OSError as error:
            reason = os.strerror(error.errno).lower()
            raise StudyError(f"Port {port} cannot be used ({reason}); name another one with --port.") from None
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)
    desk = Desk(Served(folder, threads=1))  # one thread, because AT_ONCE frames run in parallel
    blocks = build(desk)
    blocks.launch(
        server_name=host, server_port=port, share=False, quiet=True,
        max_threads=16, max_file_size=MAX_FILE, state_session_capacity=SESSIONS, prevent_thread_lock=True,
        enable_monitoring=False, ssr_mode=False, pwa=False, mcp_server=False, run_history=False, footer_links=[],
        app_kwargs={"middleware": [Middleware(BaseHTTPMiddleware, dispatch=desk.uploads.gate)]}, head=page.HEAD,
        theme=gr.themes.Base(primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"],
                             font_mono=["ui-monospace", "monospace"]), css_paths=Path(__file__).with_name("page.css"),
    )  # fmt: skip
    shutil.rmtree(FOLDER, ignore_errors=True)  # Gradio makes it at its start, for an editor that is not used
    print(f"the page is at {blocks.local_url}", flush=True)
    blocks.block_thread()
