"""Remove what runs and tests have made: `make clean`. It needs no package, so that it works before `make setup`.

What git knows stays, and so does what no run makes. Git is asked only where this folder is its top level: in an archive
that was unpacked inside another repository, git would call every file here unknown.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MADE = (".nbval", ".check", ".browser", ".pytest_cache", ".ruff_cache", "data/phantom-demo", "data/phantom-full")
RECORDS = {"run.json", "model.json", ".lock"}  # each folder of runs/ and cache/ that was made holds one of them
NEVER_COMMITTED = ("notebooks", "local", "report.html")  # of a report: .gitignore names them
OF_A_REPORT = ("tables", "figures", "plan.json", "sources.csv", "provenance.json")


def clean(root: Path) -> None:
    """Remove what was made below ``root``; a link is removed, and what it leads to stays."""
    made = [path for pattern in MADE for path in root.glob(pattern)]
    for path in (*root.glob("runs/*/"), *root.glob("cache/*/")):
        made += [path] if any(RECORDS & set(names) for _, _, names in os.walk(path)) else []
    made += [path for path in root.glob("data/local-*") if {each.name for each in path.iterdir()} <= {"manifest.csv"}]
    committed = tracked(root)
    for report in (root / "reports").glob("*/"):
        made += [report / name for name in NEVER_COMMITTED]
        if committed is not None and not any(name.startswith(f"reports/{report.name}/") for name in committed):
            made += [report / name for name in OF_A_REPORT if (report / "sources.csv").exists()]
    for path in made:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.is_symlink() or path.exists():
            path.unlink()
    for folder in (*root.glob("reports/*/"), *root.glob("runs/"), *root.glob("cache/")):
        if not any(folder.iterdir()):
            folder.rmdir()


def tracked(root: Path) -> set[str] | None:
    """Return the files that git knows, or None where this folder is not the top level of a repository."""
    try:
        top, files = git(root, "rev-parse", "--show-toplevel"), git(root, "ls-files", "-z")
        own = top.returncode == 0 and Path(os.fsdecode(top.stdout.rstrip(b"\n"))).samefile(root)
    except OSError:  # there is no git
        return None
    return set(os.fsdecode(files.stdout).split("\0")) if own and files.returncode == 0 else None


def git(root: Path, *words: str) -> subprocess.CompletedProcess:
    """Return a finished git command, whatever repository the environment names, as it does inside a hook."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(["git", *words], cwd=root, capture_output=True, env=environment)


if __name__ == "__main__":
    try:
        clean(Path(__file__).resolve().parents[1])
    except OSError as error:
        sys.exit(f"{error.filename} cannot be removed ({error.strerror}); give yourself permission, and try again.")
