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

REGISTERED := phantom dataset-a dataset-b dataset-b-modified
# As config.py names a folder: the last part of its path, odd characters turned into hyphens.
NAME := $(if $(filter $(DATA),$(REGISTERED)),$(DATA),local-$(shell basename "$$(realpath -m "$(DATA)")" | LC_ALL=C sed 's/[^A-Za-z0-9_.-]\+/-/g'))
RUN  := $(NAME)-$(PRESET)
# Executed notebooks of real data show real images, so they go where git does not look.
OUT  := reports/$(RUN)/$(if $(filter phantom,$(DATA)),,local/)notebooks
comma := ,
TRAINED := $(if $(MODELS),$(subst $(comma), ,$(MODELS)),iustnet densenet201 densenet121d)
TRAINING := $(foreach model,$(TRAINED),$(notdir $(wildcard notebooks/0*_$(model).ipynb)))
CODE := $(wildcard $(foreach kind,py j2 csv css,pcos_utils/*.$(kind) pcos_utils/*/*.$(kind) pcos_utils/*/*/*.$(kind)))
SETTINGS := --preset "$(PRESET)" --data "$(DATA)" --seed "$(SEED)" --weights "$(WEIGHTS)" \
	$(if $(LABELS),--labels "$(LABELS)") $(if $(MODELS),--models "$(MODELS)") $(if $(EPOCHS),--epochs "$(EPOCHS)") $(if $(ALLOW_CPU),--allow-cpu)
# Threads that wait must not spin while another notebook computes.
export OMP_WAIT_POLICY := PASSIVE
# One set of instructions in numpy, as pcos_utils/__init__.py says, also where numpy is imported before it.
export NPY_DISABLE_CPU_FEATURES ?= X86_V4 AVX512_ICL AVX512_SPR
INPUTS := runs/$(RUN)/inputs.txt

# Two notebooks at a time in the demo: while one starts its kernel, another computes. The longest comes first.
ifeq ($(PRESET),demo)
MAKEFLAGS += -j2
endif

.DELETE_ON_ERROR:
.PHONY: help setup reproduce test check pdf bench pretrain lab app refresh lock lint clean FORCE

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## the environment in .venv, made by itself when needed

.venv/.ready: requirements.lock pyproject.toml
	$(SYSTEM_PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	.venv/bin/uv pip install --python .venv --quiet --compile-bytecode --require-hashes -r requirements.lock
	.venv/bin/uv pip install --python .venv --quiet --no-deps --no-build-isolation -e .
	.venv/bin/python -c "import torch, torchvision; torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
	@touch $@

reproduce: $(OUT)/06_compare.ipynb ## the whole study: PRESET=demo|full DATA=phantom|dataset-b|FOLDER
	@echo "report: reports/$(RUN)/report.html"

# 02 needs what 01 makes; 03, 04 and 05 need 02; 06 needs all. One pattern rule runs any of them.
$(OUT)/02_explore.ipynb: $(OUT)/01_download.ipynb
$(TRAINING:%=$(OUT)/%): $(OUT)/02_explore.ipynb
$(OUT)/06_compare.ipynb: $(TRAINING:%=$(OUT)/%)

$(OUT)/%.ipynb: notebooks/%.ipynb $(INPUTS) $(CODE) | $(READY)
	@echo "$*"
	@$(PYTHON) -m pcos_utils.cli run "$<" "$@" $(SETTINGS)

# Settings and files of the study; rewritten only when they change, so that a second run has nothing to do.
$(INPUTS): FORCE | $(READY)
	@{ echo '$(SETTINGS)'; [ ! -d "$(DATA)" ] || find "$(DATA)" -type f -printf '%P %s %T@\n' | sort; \
	[ ! -f "$(LABELS)" ] || sha256sum < "$(LABELS)"; } > .inputs.$$$$; \
	if cmp -s .inputs.$$$$ $@; then rm .inputs.$$$$; \
	elif $(PYTHON) -m pcos_utils.cli check $(SETTINGS) && mkdir -p $(@D); then mv .inputs.$$$$ $@; \
	else rm .inputs.$$$$; exit 2; fi

# The page and JupyterLab are opened in Chromium (Debian: chromium, chromium-driver, npm); screenshots lie in .browser.
# nbval runs every cell and compares what no training moves with what is stored; what training gives, which another
# processor's rounding moves, is tagged nbval-ignore-output, and `make check` compares it inside bands.
# JupyterLab comes last: it shows the demo that nbval has finished.
test: $(READY) ## every test, a real browser's too, and the notebooks against their stored outputs
	$(PYTHON) -m pytest tests --ignore=tests/browser/test_lab.py
	rm -rf .nbval
	PCOS_HOME=$(CURDIR)/.nbval PCOS_PLAIN=1 PCOS_OFFLINE=1 $(PYTHON) -m pytest --nbval --nbval-sanitize-with tests/nbval.cfg notebooks
	$(PYTHON) -m pytest tests/browser/test_lab.py

# Made elsewhere, so that nothing that is committed can be overwritten by what it is compared with.
check: $(READY) ## the demo made again elsewhere, its tables compared with the committed ones inside their bands
	rm -rf .check
	PCOS_HOME=$(CURDIR)/.check PCOS_OFFLINE=1 $(MAKE) reproduce PRESET=demo DATA=phantom SEED=0 MODELS= EPOCHS= LABELS= WEIGHTS=imagenet \
		OUT=.check/reports/phantom-demo/notebooks INPUTS=.check/runs/phantom-demo/inputs.txt
	$(PYTHON) -m pcos_utils.cli check-tables reports/phantom-demo .check/reports/phantom-demo
	rm -rf .check

pdf: $(READY) ## report.pdf beside report.html, where Chromium is there
	$(PYTHON) -m pcos_utils.cli pdf "reports/$(RUN)"

bench: $(READY) ## training and answering beside plain ways, on a machine that does nothing else: about 15 minutes
	$(PYTHON) -m benchmarks.training
	$(PYTHON) -m benchmarks.answering

pretrain: $(READY) ## the network that outlines follicles, trained on PHANTOMS=1500 of each class: ten minutes and more on 2 cores
	$(PYTHON) -m pcos_utils.cli pretrain --phantoms $(PHANTOMS) --seed $(SEED)

# It asks no other machine for news, updates or extensions.
lab: $(READY) ## JupyterLab at the first notebook
	$(PYTHON) -m jupyter lab --LabApp.news_url=None \
		--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --LabApp.extension_manager=readonly \
		notebooks/01_download.ipynb

app: $(READY) ## the web page on this machine, with the best model of the study: http://127.0.0.1:7860
	@[ -f "runs/served/$(RUN)/model.json" ] || $(PYTHON) -m pcos_utils.cli export --out "runs/served/$(RUN)" \
		--preset "$(PRESET)" --data "$(DATA)" --seed "$(SEED)" --weights "$(WEIGHTS)" \
		$(if $(LABELS),--labels "$(LABELS)") $(if $(ALLOW_CPU),--allow-cpu)
	$(PYTHON) -m pcos_utils.cli app --model "runs/served/$(RUN)"

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
	rm -rf runs .nbval .check .browser .pytest_cache .ruff_cache data/phantom-demo data/phantom-full data/local-*
	@git clean -fdxq reports 2>/dev/null || true
