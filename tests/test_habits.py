"""Other people's folders, shells and habits: copies, links, two runs at once, Ctrl-C, and a folder inside another one.

Each test has a checkout of its own, in a folder with a space and an umlaut, whose notebooks are two short ones.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest

from pcos_utils.config import ROOT
from tests.test_run_notebook import notebook

FIRST = "from pathlib import Path\nimport pcos_utils, sys\nprint(pcos_utils.__file__, sys.executable)"
COUNTS = "with open({log!r}, 'a') as log:\n    log.write('ran ')"


@pytest.fixture
def checkout(tmp_path) -> Path:
    place = tmp_path / "mein Ordner ä" / "pcos"
    place.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "LICENSE"):
        shutil.copy(ROOT / name, place)
    shutil.copytree(ROOT / "pcos_utils", place / "pcos_utils", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "notebooks").mkdir()
    write_notebooks(place, FIRST, COUNTS.format(log=str(place / "log.txt")))
    return place


def write_notebooks(place: Path, *cells: str) -> None:
    """Write one notebook per cell, in the order of their names, with every setting as a parameter, and no other."""
    for path in (place / "notebooks").glob("*.ipynb"):
        path.unlink()
    names = ("preset", "data", "labels", "models", "seed", "epochs", "weights", "allow_cpu")
    settings = "\n".join(f"{name} = None" for name in names)
    for path, cell in zip(("01_download", "02_explore"), cells, strict=False):
        notebook(place / "notebooks" / f"{path}.ipynb", cell, settings=settings)


def environment(**changes) -> dict:
    """Return an environment in which make uses this Python, as in an active conda environment."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PCOS_"))}
    return own | {"PATH": path, "CONDA_DEFAULT_ENV": "pcos"} | changes


def finished(place: Path, *command: str, **changes) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=place, capture_output=True, text=True, env=environment(**changes))


def make(place: Path, *words: str, **changes) -> subprocess.CompletedProcess:
    return finished(place, "make", "--no-print-directory", *words, **changes)


def printed(place: Path, run: str = "phantom-demo", name: str = "01_download") -> str:
    folder = place / "reports" / run / ("" if run.startswith("phantom") else "local") / "notebooks"
    return nbformat.read(folder / f"{name}.ipynb", as_version=4).cells[-1].outputs[0].text


@pytest.mark.slow
def test_a_copy_runs_its_own_code_with_this_python(checkout, tmp_path):
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": ["/bin/false"], "display_name": "another", "language": "python"}))
    done = make(checkout, "reproduce", JUPYTER_PATH=str(tmp_path / "jupyter"), OMP_NUM_THREADS="2,1")
    assert done.returncode == 0, done.stderr
    assert printed(checkout).split(" /")[0] == str(checkout / "pcos_utils" / "__init__.py")
    assert printed(checkout).strip().endswith(sys.executable)
    again = make(checkout, "reproduce")
    assert again.returncode == 0 and "1/2" in done.stdout and "1/2" not in again.stdout
    with open(checkout / "pcos_utils" / "progress.py", "a") as code:
        code.write("# edited\n")
    assert "2/2 explore: " in make(checkout, "reproduce").stdout
    assert (checkout / "log.txt").read_text() == "ran ran "


def test_code_of_another_checkout_says_so_and_the_commit_is_of_this_folder_alone(checkout):
    code = "from pcos_utils import config; config.study()"
    done = finished(checkout / "notebooks", sys.executable, "-c", code, PYTHONPATH=str(ROOT))
    assert done.returncode == 1 and "run 'make setup' there first" in done.stderr
    subprocess.run(["git", "init", "-q", checkout.parent], check=True)
    code = "from pcos_utils.reporting import store; print(store.stamp().data.split('commit ')[1].strip('.*'))"
    done = finished(checkout, sys.executable, "-c", code, PYTHONPATH=str(checkout), GIT_DIR=str(ROOT / ".git"))
    assert done.stdout == "unknown\n", done.stderr


@pytest.mark.slow
def test_two_runs_at_once_do_the_work_once_and_a_failure_is_one_sentence_and_keeps_what_was_finished(checkout):
    write_notebooks(checkout, "import time\ntime.sleep(2)", COUNTS.format(log=str(checkout / "log.txt")))
    command, pipes = ["make", "--no-print-directory", "reproduce"], dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    both = [subprocess.Popen(command, cwd=checkout, env=environment(), text=True, **pipes) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("waiting for another run of phantom-demo to end" in out for out, _ in said) == 1
    assert (checkout / "log.txt").read_text() == "ran "
    finished = checkout / "reports/phantom-demo/notebooks/02_explore.ipynb"
    kept = finished.read_bytes()
    write_notebooks(checkout, FIRST, "from pcos_utils.config import StudyError\nraise StudyError('No luck.')")
    done = make(checkout, "reproduce")
    assert done.returncode == 2 and done.stderr.splitlines()[0] == "pcos: No luck." and finished.read_bytes() == kept


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_is_one_sentence_and_leaves_no_process(checkout, number):
    write_notebooks(checkout, f"import os, time\nopen({str(checkout / 'pid')!r}, 'w').write(str(os.getpid()))\n"
                              "time.sleep(60)")  # fmt: skip
    command = [sys.executable, "-m", "pcos_utils.cli", "reproduce"]
    if number != signal.SIGINT:
        command = ["bash", "-c", 'trap "" INT; exec "$@"', "", *command]
    process = subprocess.Popen(command, cwd=checkout, env=environment(PYTHONPATH=str(checkout)), text=True,
                               stderr=subprocess.PIPE, start_new_session=True, preexec_fn=heed)  # fmt: skip
    while not (checkout / "pid").exists() or not (checkout / "pid").read_text():
        time.sleep(0.1)
        assert process.poll() is None
    # A terminal interrupts all processes of the command; kill ends the one that it names, here one that a script
    # started in the background, where interrupts are ignored.
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and said.count("\n") == 1 and "stopped; what is finished is kept" in said
    deadline = time.monotonic() + 20
    while alive(int((checkout / "pid").read_text())) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not alive(int((checkout / "pid").read_text())) and [*(checkout / "reports").rglob("*.ipynb")] == []


def heed() -> None:
    """Heed the signals that these tests themselves ignore where they run in the background or under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended and that nobody asked for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.slow
def test_a_folder_of_any_name_and_a_link_to_it(checkout, tmp_path):
    folder = tmp_path / 'my phantom\'s 卵巣 $HOME `x` "y"'
    for label in ("pco", "normal"):
        (folder / label).mkdir(parents=True)
    (tmp_path / "link").symlink_to(folder)
    write_notebooks(checkout, FIRST)
    done = make(checkout, "reproduce", DATA=str(folder))
    run = done.stdout.split()[1].rstrip(":")
    assert run.startswith("local-my-phantom-s-卵巣-HOME-x-y-") and printed(checkout, run)
    command = dict(DATA="~/link", HOME=str(tmp_path))
    assert make(checkout, "reproduce", **command).stdout.startswith(f"study {run}:")
    assert "1/1 download" not in make(checkout, "reproduce", **command).stdout
    (folder / "pco" / "new.png").write_bytes(b"new")
    assert "1/1 download" in make(checkout, "reproduce", **command).stdout
    assert make(checkout, "reproduce", DATA="~nobody-here/x").stderr.count("home folder is not known") == 1


@pytest.mark.parametrize("outer", [True, False])
def test_clean_keeps_what_no_run_made(checkout, outer):
    """In an archive inside another repository, and in a repository of its own."""
    reports = ["demo/tables/a.csv", "demo/plan.json", "demo/sources.csv", "demo/notebooks/01.ipynb", "mine/notes.txt"]
    reports += ["new/tables/a.csv", "new/sources.csv", "new/notes.txt", "new/local/x.png"]
    others = ["runs/x/run.json", "runs/notes.txt", "cache/x/run.json", "data/local-x/manifest.csv"]
    others += ["data/local-y/scan.png", "data/phantom-demo/a.png", "data/phantoms/a.png"]
    for name in [*(f"reports/{name}" for name in reports), *others]:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text(name)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    place = checkout.parent if outer else checkout
    subprocess.run([*git, "init", "-q", place], check=True)
    subprocess.run([*git, "-C", place, "add", checkout / "reports" / "demo" / "tables"], check=True)
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    left = {path.relative_to(checkout).as_posix() for path in checkout.rglob("*") if path.is_file()}
    left = {name for name in left if name.startswith(("reports", "runs", "cache", "data"))}
    kept = {"reports/demo/tables/a.csv", "reports/demo/plan.json", "reports/demo/sources.csv", "reports/new/notes.txt"}
    kept |= {"reports/mine/notes.txt", "data/local-y/scan.png", "data/phantoms/a.png", "runs/notes.txt"}
    assert left == kept | ({"reports/new/tables/a.csv", "reports/new/sources.csv"} if outer else set())


def test_make_takes_an_environment_only_if_it_holds_the_package_and_makes_a_copied_one_again(checkout, tmp_path):
    assert "python -m pcos_utils.cli reproduce" in make(checkout, "-n", "reproduce").stdout.splitlines()
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    assert ".venv/bin/python -m pcos_utils.cli reproduce" in make(checkout, "-n", "reproduce", PATH=path).stdout
    done = make(checkout, "setup", PATH=path, SYSTEM_PYTHON="")
    assert done.returncode == 2 and done.stderr.startswith("No Python from 3.11.4 to 3.14")
    (checkout / ".venv").mkdir()
    (checkout / ".venv" / ".ready").write_text(str(checkout.resolve()) + "\n")
    assert make(checkout, "-n", "setup", CONDA_DEFAULT_ENV="").stdout == "make: Nothing to be done for 'setup'.\n"
    moved = checkout.rename(checkout.parent / "moved")
    assert " -m venv .venv" in make(moved, "-n", "setup", CONDA_DEFAULT_ENV="").stdout


@pytest.mark.slow
def test_settings_of_a_user_and_tools_of_other_systems_change_no_notebook(checkout, tmp_path):
    (tmp_path / "tools").mkdir()
    for name in ("find", "realpath", "sed", "readlink", "stat", "date"):
        (tmp_path / "tools" / name).write_text(f"#!/bin/sh\necho {name}: illegal option >&2\nexit 64\n")
        (tmp_path / "tools" / name).chmod(0o755)
    for name in ("torch.py", "typing.py", "startup.py", "ipython/profile_default/startup/00.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('not of this study')")
    only_svg = "c.InlineBackend.figure_formats = {'svg'}"
    (tmp_path / "ipython/profile_default/ipython_kernel_config.py").write_text(only_svg)
    write_notebooks(checkout, "import torch\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    done = make(
        checkout, "reproduce", MPLBACKEND="nonsense", IPYTHONDIR=str(tmp_path / "ipython"), PYTHONPATH=str(tmp_path),
        PYTHONHOME="/nowhere", PYTHONSTARTUP=str(tmp_path / "startup.py"), TMPDIR="/nowhere", LC_ALL="C",
        PATH=f"{tmp_path / 'tools'}{os.pathsep}{environment()['PATH']}", PYTHONWARNINGS="error", MAKEFLAGS="-j4",
    )  # fmt: skip
    assert done.returncode == 0 and "illegal" not in done.stderr, done.stderr
    cell = nbformat.read(checkout / "reports/phantom-demo/notebooks/01_download.ipynb", as_version=4).cells[-1]
    assert [output.output_type for output in cell.outputs] == ["display_data"] and "image/png" in cell.outputs[0].data


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_what_a_killed_run_left_is_removed(checkout):
    left_over = checkout / "reports/phantom-demo/notebooks/.01_download.1.ipynb"
    left_over.parent.mkdir(parents=True)
    left_over.write_text("half")
    command = 'ulimit -f 1; exec "$0" -m pcos_utils.cli reproduce'  # no file above half a kilobyte or a whole one
    quiet = dict(PYTHONPATH=str(checkout), PYTHONDONTWRITEBYTECODE="1")
    done = finished(checkout, "bash", "-c", command, sys.executable, **quiet)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "01_download.ipynb: file too large" in done.stderr
    assert list(left_over.parent.iterdir()) == []


def test_make_in_a_folder_that_is_no_checkout_says_so_and_names_a_variable_that_it_does_not_know(checkout, tmp_path):
    done = make(tmp_path, "-f", str(checkout / "Makefile"), "reproduce")
    assert done.returncode == 2 and "run make in the checkout: make -C" in done.stderr
    assert list(tmp_path.glob(".*")) == []
    for name in ("DAT", "data"):
        done = make(checkout, "reproduce", f"{name}=folder")
        assert done.returncode == 2 and f"{name} is no setting; give some of: PRESET DATA" in done.stderr
    assert make(checkout, "-n", "reproduce", "DATA=my folder", "SEED=1").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become somebody else")
def test_a_user_without_a_name_or_a_home(checkout):
    """Python may lie among root's files, so this user keeps the right to read them; make leaves that to a shell."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    shutil.copytree(checkout, place / "pcos")
    (home := place / "home").mkdir()
    os.chown(home, 12345, 12345)
    command = ["setpriv", "--reuid", "12345", "--clear-groups", "--inh-caps", "+dac_read_search", "--ambient-caps",
               "+dac_read_search", "env", "-i", f"PATH={environment()['PATH']}", "HOME=/", "CONDA_DEFAULT_ENV=pcos",
               f"PCOS_HOME={home}", "make", f"PYTHON=exec {sys.executable}", "reproduce"]  # fmt: skip
    done = subprocess.run(command, cwd=place / "pcos", capture_output=True, text=True)
    assert (home / "reports").exists(), done.stderr
    assert not (checkout / "log.txt").exists() and printed(home)
    shutil.rmtree(place)
    assert done.returncode == 2 and "PermissionError" in done.stderr  # of the second notebook, which writes elsewhere
