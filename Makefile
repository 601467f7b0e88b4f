# The study's table of contents. Plain `make` prints it.
#
#   make reproduce                                   the demo on phantoms: no network, no GPU, minutes
#   make reproduce DATA=path/to/folder               the same six notebooks on your own images
#   make reproduce DATA=path/to/folder LABELS=t.csv  where a table, not the folders, says what each image shows
#   make reproduce PRESET=full DATA=dataset-b        the full study, on a GPU
#   make reproduce JOBS=4                            four runs at a time; CLUSTER=tcp://host:port: on dask workers

PRESET    ?= demo
DATA      ?= phantom
LABELS    ?=
MODELS    ?=
SEED      ?= 0
EPOCHS    ?=
WEIGHTS   ?= imagenet
ALLOW_CPU ?=
PHANTOMS  ?= 1500
JOBS      ?=
CLUSTER   ?=
# A typo such as DAT=folder would run the demo instead.
SETTINGS := PRESET DATA LABELS MODELS SEED EPOCHS WEIGHTS ALLOW_CPU PHANTOMS JOBS CLUSTER
OTHERS := PYTHON SYSTEM_PYTHON PCOS_HOME PCOS_OFFLINE OMP_NUM_THREADS
UNKNOWN := $(filter-out $(SETTINGS) $(OTHERS) SHELL,$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
ifneq ($(filter-out -%,$(UNKNOWN)),)
$(error $(firstword $(filter-out -%,$(UNKNOWN))) is no setting; give some of: $(SETTINGS))
endif
ifeq ($(value DATA),)
$(error DATA is empty; name a registered data set or a folder, or leave DATA out)
endif
ifeq ($(wildcard pcos_utils/cli.py),)
$(error This folder holds no pcos_utils; run make in the checkout: make -C its-folder)
endif

# An active conda environment that holds this package is used as it is; otherwise `make setup` makes .venv.
ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
CONDA := $(shell python -I -c "import importlib.metadata as installed; print(installed.version('pcos-utils'))" 2>/dev/null)
endif
ifneq ($(CONDA),)
PYTHON ?= python
READY  := pyproject.toml
else
PYTHON ?= .venv/bin/python
READY  := .venv/.ready
endif
UV_VERSION := 0.13.9
FITS := import sys, ensurepip; v = sys.version_info[:3]; sys.exit(not (3, 11, 4) <= v < (3, 15) or (3, 12) <= v < (3, 12, 2))
SYSTEM_PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$python -I -c "$(FITS)" 2>/dev/null && echo $$python && break; done)

# Settings travel in the environment, so that no shell reads what a folder's name holds.
export PCOS_SET_PRESET = $(value PRESET)
export PCOS_SET_DATA = $(value DATA)
export PCOS_SET_SEED = $(value SEED)
export PCOS_SET_WEIGHTS = $(value WEIGHTS)
export PCOS_SET_LABELS = $(value LABELS)
export PCOS_SET_MODELS = $(value MODELS)
export PCOS_SET_EPOCHS = $(value EPOCHS)
export PCOS_SET_ALLOW_CPU = $(value ALLOW_CPU)
export PCOS_SET_JOBS = $(value JOBS)
export PCOS_SET_CLUSTER = $(value CLUSTER)
# The code of this folder comes first, also where the folder was copied together with its .venv; no package of another
# installation, to which a user's PYTHONPATH leads, takes the place of one of ours.
export PYTHONPATH := $(CURDIR)
# Texts are UTF-8 whatever the locale; what a user has set for other work neither moves the packages elsewhere, nor turns
# warnings into errors, nor has each start compile all modules anew.
export PYTHONUTF8 := 1
export PIP_USER := 0
unexport PIP_TARGET PIP_PREFIX PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONINSPECT PYTHONWARNINGS PYTHONOPTIMIZE PYTHONIOENCODING JUPYTER_PATH
# A user without a name or a home of his own gets both, because many tools write settings there; the name holds the
# number, because pytest names a shared temporary folder after it.
ifeq ($(LOGNAME)$(USER),)
export LOGNAME := user-$(shell id -u)
endif
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo yes),yes)
export HOME := $(shell home="$${PCOS_HOME:-.}/.home"; mkdir -p "$$home" && cd "$$home" && pwd)
endif

.PHONY: help setup reproduce test test-all check bench pretrain lab app refresh lock lint clean FORCE

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## the environment in .venv, made by itself when needed

.venv/.ready: requirements.lock pyproject.toml
	@test -n "$(SYSTEM_PYTHON)" || { echo "No Python from 3.11.4 to 3.14 (but 3.12.0 and 3.12.1) with its module venv was found; install one \
	(Debian: apt-get install python3 python3-venv), or name one: make setup SYSTEM_PYTHON=path" >&2; exit 2; }
	$(SYSTEM_PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv/bin/uv pip install --python .venv --quiet --require-hashes -r requirements.lock
	.venv/bin/uv pip install --python .venv --quiet --no-deps --no-build-isolation -e .
	.venv/bin/python -c "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
	@pwd -P > $@

# A folder that was moved or copied with its .venv gets an environment that knows where it is.
ifeq ($(shell test -w .venv/.ready && test "$$(cat .venv/.ready)" != "$$(pwd -P)" && echo moved),moved)
.venv/.ready: FORCE
endif

reproduce: $(READY) ## the whole study: PRESET=demo|full DATA=phantom|dataset-b|FOLDER
	@$(PYTHON) -m pcos_utils.cli reproduce

# Two processes, each with whole files, so that what a file's tests share is made once.
TWO := -n 2 --dist loadfile
test: $(READY) ## the fast tests, at most 5 minutes; no browser
	$(PYTHON) -m pytest $(TWO) -m "not slow"

# The page and JupyterLab are opened in Chromium (Debian: chromium, chromium-driver, npm); screenshots lie in .browser.
# nbval runs every cell and compares what no training moves with what is stored; what training gives, which another
# processor's rounding moves, is tagged nbval-ignore-output, and `make check` compares it inside bands. The three
# networks' notebooks wait for nothing of each other.
# JupyterLab comes last: it shows the demo that nbval has finished.
NBVAL = PCOS_HOME=.nbval PCOS_PLAIN=1 PCOS_OFFLINE=1 $(PYTHON) -m pytest --nbval --nbval-sanitize-with tests/nbval.cfg
test-all: $(READY) ## every test: fuzzing, kills, simulations, a real browser, and the notebooks against their outputs
	$(PYTHON) -m pytest $(TWO) tests --ignore=tests/browser
	$(PYTHON) -m pytest tests/browser/test_page.py
	rm -rf .nbval
	$(NBVAL) notebooks/0[12]*.ipynb
	$(NBVAL) -n 3 --dist loadfile notebooks/0[345]*.ipynb
	$(NBVAL) notebooks/06*.ipynb
	$(PYTHON) -m pytest tests/browser/test_lab.py

# Made elsewhere, so that nothing that is committed can be overwritten by what it is compared with.
check: $(READY) ## the demo made again elsewhere, its tables compared with the committed ones inside their bands
	rm -rf .check
	PCOS_HOME=.check PCOS_OFFLINE=1 $(MAKE) reproduce PCOS_HOME=.check PRESET=demo DATA=phantom SEED=0 MODELS= EPOCHS= LABELS= WEIGHTS=imagenet
	$(PYTHON) -m pcos_utils.cli check-tables reports/phantom-demo .check/reports/phantom-demo
	rm -rf .check

bench: $(READY) ## training and answering beside plain ways, on a machine that does nothing else: about 15 minutes
	$(PYTHON) -m studies.training
	$(PYTHON) -m studies.answering

pretrain: $(READY) ## the network that outlines follicles, trained on PHANTOMS=1500 of each class: ten minutes and more on 2 cores
	$(PYTHON) -m pcos_utils.cli pretrain --phantoms $(PHANTOMS) --seed $(SEED)

# It asks no other machine for news, updates or extensions.
lab: $(READY) ## JupyterLab at the first notebook
	$(PYTHON) -m jupyterlab --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly \
		$(if $(filter 0,$(shell id -u)),--allow-root) notebooks/01_download.ipynb

app: $(READY) ## the web page on this machine, with the best model of the study: http://127.0.0.1:7860
	@$(PYTHON) -m pcos_utils.cli app

refresh: ## the committed notebooks with the outputs of a fresh demo
	PCOS_OFFLINE=1 $(MAKE) reproduce PRESET=demo DATA=phantom
	$(PYTHON) -m pcos_utils.cli refresh reports/phantom-demo/notebooks

lock: ## requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --all-extras \
		--python-version 3.11 --custom-compile-command "make lock" pyproject.toml -o requirements.lock

lint: $(READY) ## the style checks
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

clean: ## remove what can be made again without a download; committed files, your own and downloaded data stay
	@$(or $(SYSTEM_PYTHON),python3) pcos_utils/clean.py
