"""A full queue, on the real page with a slow model: who comes too late is told so, and a second try counts."""

import threading
import time

from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from tests.serving.made import crowded, free_port

VISITORS = 8


def test_who_is_turned_away_is_told_and_a_second_try_counts(served, tmp_path):
    port, image = free_port(), next((served / "examples").glob("*.png"))
    answers, told, again = [], [], threading.Event()

    def visit(number: int) -> None:
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        ready.wait()
        while True:
            try:
                answers.append(client.predict(handle_file(image), api_name="/predict"))
                return
            except QueueError as error:
                told.append(str(error))
                again.wait(0.2)

    with crowded(served, port, waiting=2, seconds=0.5, log=tmp_path / "log.txt"):
        ready = threading.Barrier(VISITORS)
        visits = [threading.Thread(target=visit, args=(number,)) for number in range(VISITORS)]
        for one in visits:
            one.start()
        deadline = time.monotonic() + 180
        for one in visits:
            one.join(max(0, deadline - time.monotonic()))
    assert len(answers) == VISITORS and len({answer["decision"] for answer in answers}) == 1
    assert told and all("Queue is full" in one for one in told)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()
