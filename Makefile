# The study's table of contents. Plain `make` prints it.
#
#   make reproduce                                   the demo on phantoms: no network, no GPU, minutes
#   make reproduce DATA=path/to/folder               the same six notebooks on your own images
#   make reproduce DATA=path/to/folder LABELS=t.csv  where a table, not the folders, says what each image shows
#   make reproduce PRESET=full DATA=dataset-b        the full study, on a GPU

PRESET    ?= demo
DATA      ?= phantom
LABELS    ?=
MODELS    ?=
SEED      ?= 0
EPOCHS    ?=
WEIGHTS   ?= imagenet
ALLOW_CPU ?=
PHANTOMS  ?= 1500

# An active conda environment, other than conda's own base, is used as it is; otherwise `make setup` makes .venv.
ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
PYTHON ?= python
READY  := pyproject.toml
else
PYTHON ?= .venv/bin/python
READY  := .venv/.ready
endif
SYSTEM_PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
UV_VERSION    := 0.13.9

# The study's name, as config.py gives it; `make reproduce` asks for it and calls make again.
RUN  ?= phantom-demo
PLACE := $(if $(PCOS_HOME),$(PCOS_HOME)/)
# Executed notebooks of real data show real images, so they go where git does not look.
OUT  := $(PLACE)reports/$(RUN)/$(if $(filter phantom,$(DATA)),,local/)notebooks
INPUTS := $(PLACE)runs/$(RUN)/inputs.txt
comma := ,
TRAINED := $(if $(MODELS),$(subst $(comma), ,$(MODELS)),iustnet densenet201 densenet121d)
TRAINING := $(foreach model,$(TRAINED),$(notdir $(wildcard notebooks/0*_$(model).ipynb)))
CODE := $(shell find pcos_utils -name "[!.]*" -type f ! -name "*.pyc")
# Settings travel in the environment, so that no shell reads what a folder's name holds.
export PCOS_SET_PRESET = $(PRESET)
export PCOS_SET_DATA = $(DATA)
export PCOS_SET_SEED = $(SEED)
export PCOS_SET_WEIGHTS = $(WEIGHTS)
export PCOS_SET_LABELS = $(LABELS)
export PCOS_SET_MODELS = $(MODELS)
export PCOS_SET_EPOCHS = $(EPOCHS)
export PCOS_SET_ALLOW_CPU = $(ALLOW_CPU)
# Threads that wait must not spin while another notebook computes.
export OMP_WAIT_POLICY := PASSIVE

# Two notebooks at a time in the demo: while one starts its kernel, another computes. The longest comes first.
JOBS := $(if $(filter demo,$(PRESET)),-j2)

.DELETE_ON_ERROR:
.PHONY: help setup reproduce study test test-all check bench pretrain lab app refresh lock lint clean FORCE

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## the environment in .venv, made by itself when needed

.venv/.ready: requirements.lock pyproject.toml
	$(SYSTEM_PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv/bin/uv pip install --python .venv --quiet --compile-bytecode --require-hashes -r requirements.lock
	.venv/bin/uv pip install --python .venv --quiet --no-deps --no-build-isolation -e .
	.venv/bin/python -c "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
	@touch $@

reproduce: $(READY) ## the whole study: PRESET=demo|full DATA=phantom|dataset-b|FOLDER
	@run=$$($(PYTHON) -m pcos_utils.cli name) && $(MAKE) --no-print-directory $(JOBS) study RUN="$$run"

study: $(OUT)/06_compare.ipynb
	@echo "report: $(PLACE)reports/$(RUN)/report.html"

# 02 needs what 01 makes; 03, 04 and 05 need 02; 06 needs all. One pattern rule runs any of them.
$(OUT)/02_explore.ipynb: $(OUT)/01_download.ipynb
$(TRAINING:%=$(OUT)/%): $(OUT)/02_explore.ipynb
$(OUT)/06_compare.ipynb: $(OUT)/02_explore.ipynb $(TRAINING:%=$(OUT)/%)

$(OUT)/%.ipynb: notebooks/%.ipynb $(INPUTS) $(CODE) | $(READY)
	@echo "$*"
	@$(PYTHON) -m pcos_utils.cli run "$<" "$@"

# Settings and files of the study; rewritten only when they change, so that a second run has nothing to do.
$(INPUTS): FORCE | $(READY)
	@$(PYTHON) -m pcos_utils.cli preflight --inputs "$@"

test: $(READY) ## the fast tests, at most 5 minutes; no browser
	$(PYTHON) -m pytest -m "not slow"

# The page and JupyterLab are opened in Chromium (Debian: chromium, chromium-driver, npm); screenshots lie in .browser.
# nbval runs every cell and compares what no training moves with what is stored; what training gives, which another
# processor's rounding moves, is tagged nbval-ignore-output, and `make check` compares it inside bands.
# JupyterLab comes last: it shows the demo that nbval has finished.
test-all: $(READY) ## every test: fuzzing, kills, simulations, a real browser, and the notebooks against their outputs
	$(PYTHON) -m pytest tests --ignore=tests/browser/test_lab.py
	rm -rf .nbval
	PCOS_HOME=.nbval PCOS_PLAIN=1 PCOS_OFFLINE=1 $(PYTHON) -m pytest --nbval --nbval-sanitize-with tests/nbval.cfg notebooks
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
	$(PYTHON) -m jupyter lab --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly \
		notebooks/01_download.ipynb

app: $(READY) ## the web page on this machine, with the best model of the study: http://127.0.0.1:7860
	@run=$$($(PYTHON) -m pcos_utils.cli name) && served="$(PLACE)runs/served/$$run" && \
		{ [ -f "$$served/model.json" ] || $(PYTHON) -m pcos_utils.cli export --out "$$served"; } && \
		$(PYTHON) -m pcos_utils.cli app --model "$$served"

refresh: ## the committed notebooks with the outputs of a fresh demo
	PCOS_OFFLINE=1 $(MAKE) reproduce PRESET=demo DATA=phantom
	$(PYTHON) -m pcos_utils.cli refresh reports/phantom-demo/notebooks

lock: ## requirements.lock from pyproject.toml
	.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --all-extras \
		--python-version 3.11 --custom-compile-command "make lock" pyproject.toml -o requirements.lock

lint: $(READY) ## the style checks
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

clean: ## remove what can be made again without a download; committed files and downloaded data stay
	rm -rf runs cache .nbval .check .browser .pytest_cache .ruff_cache data/phantom-demo data/phantom-full data/local-*
	@git clean -fdxq reports 2>/dev/null || true
