"""The report as PDF, by the Chromium that is on the machine; nothing of the study needs it."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from pcos_utils.config import StudyError
from pcos_utils.files import appearing

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 180


def browser() -> str | None:
    """The path of a Chromium on this machine, or None."""
    return next((found for found in map(shutil.which, BROWSERS) if found), None)


def write(folder: Path) -> str:
    """What became of the PDF, in a sentence: written beside the report, or why not. Raises StudyError.

    Without a Chromium nothing is written, and that is no failure: the page prints from any browser.
    """
    page = Path(folder).resolve() / "report.html"
    if not page.exists():
        raise StudyError(f"{page} is missing; make it with 'make reproduce'.")
    found = browser()
    if found is None:
        return f"No PDF: no Chromium on this machine ({', '.join(BROWSERS)}). Print {page} from any browser."
    # A profile of its own: another Chromium of the same user would be asked to print, and this one would return.
    with tempfile.TemporaryDirectory() as profile, appearing(page.with_suffix(".pdf")) as target:
        done = subprocess.run(
            [found, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
             "--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
        if done.returncode or not target.exists():
            raise StudyError(f"Chromium could not print {page.name}: {(done.stderr.strip() or 'no file')[-300:]}")
    return f"written: {page.with_suffix('.pdf')}"
