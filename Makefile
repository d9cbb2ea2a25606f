# rate_nb: `make tmaze` runs the main job, `make test` the tests. Each sets up what it needs, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help tmaze repro unknown-study test test-slow nbdev-test renderer lab notebooks readme
.PHONY: test-python docs book check-docs

PYTHON ?= python3.11
VENV   ?= .venv
OUT    ?= out/tmaze
BIN    := $(VENV)/bin
NAME   ?= vizdoom
PRESET ?= laptop
PORT   ?= 8888
TMAZE  ?= {preset: laptop, studies: [figure 5], seeds: [0], models: [RATE, DT, BC-LSTM]}

help:
	@echo "make tmaze      the T-Maze study, one seed, three models: figures and executed notebook in $(OUT)"
	@echo "make repro      another study: make repro NAME=vizdoom PRESET=laptop, of $(STUDIES)"
	@echo "make test       all tests but the slow ones"
	@echo "make test-slow  the slow tests: the book and its links, wheels, preset paper, changed code"
	@echo "make test-python PYTHON=python3.13: base install and a small T-Maze study by another Python"
	@echo "make lab        open the course in JupyterLab, at another port by make lab PORT=8899;"
	@echo "                arguments of its own by ARGS=--no-browser"
	@echo "make notebooks  modules from notebooks, notebooks cleaned, README.md and Colab cells renewed"
	@echo "make docs       the course as a book of web pages"
	@echo "make check-docs read it in a browser: errors, contrast, narrow screens, search"

# ---- setting up: an empty environment, then one stamp file for each set of packages ----

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "rate_nb needs Python 3.11 or newer, and '$(PYTHON)' is none: install python3.11, or name yours: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "'$(PYTHON)' cannot make environments: install its venv module (Debian, Ubuntu: apt install python3.11-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-%: constraints.txt setup.py settings.ini | $(BIN)/python
	@echo "Setting up $(VENV) ($*): once, a few minutes"
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install -qq -c constraints.txt --no-build-isolation -e '.$(if $(filter base,$*),,[$*])'
	@touch $(VENV)/installed-base $@

# system libraries and programs, which pip cannot bring: $(call apt,names)
apt = as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
	$$as_root apt-get update -qq && $$as_root env DEBIAN_FRONTEND=noninteractive \
	  apt-get install -qq -y --no-install-recommends $(1) >/dev/null

# Memory Maze draws without a screen
LIBRARIES := $(shell sed -n 's/^apt_memory_maze = //p' settings.ini)
renderer: $(VENV)/installed-dev
	@$(BIN)/python -c 'import sys; from ctypes.util import find_library as found; sys.exit(not (found("EGL") and found("GL")))' || \
	  { echo "Installing $(LIBRARIES), by which Memory Maze draws"; $(call apt,$(LIBRARIES)); } || \
	  echo "That failed: have $(LIBRARIES) installed, or the tests of Memory Maze will"

# ---- the main job ----

# without ipywidgets tqdm draws its bars as text, which a terminal can show; it need not warn about that
tmaze repro: export PYTHONWARNINGS := ignore:IProgress not found
PAPERMILL = $(BIN)/papermill --cwd nbs --kernel python3 --log-output --no-progress-bar

tmaze: $(VENV)/installed-base
	@mkdir -p $(OUT)
	$(PAPERMILL) nbs/repro_tmaze.ipynb $(OUT)/repro_tmaze.ipynb \
	  --parameters_yaml '$(TMAZE)' --parameters_yaml "{output_folder: '$$(realpath '$(OUT)')'}"
	@echo
	@echo "Executed notebook: $(OUT)/repro_tmaze.ipynb"
	@echo "Figures:"
	@find $(OUT) -name '*.png' | sort | sed 's/^/  /'

# what results/ holds already is not computed again
STUDIES = $(patsubst nbs/repro_%.ipynb,%,$(wildcard nbs/repro_*.ipynb))
repro: $(if $(filter $(NAME),$(STUDIES)),$(VENV)/installed-dev renderer,unknown-study)
	@mkdir -p out
	$(PAPERMILL) nbs/repro_$(NAME).ipynb out/repro_$(NAME).ipynb -p preset $(PRESET)
	@echo
	@echo "Executed notebook: out/repro_$(NAME).ipynb; figures: results/"

unknown-study:
	@echo "there is no nbs/repro_$(NAME).ipynb: choose NAME from $(STUDIES)"; exit 1

# ---- tests ----

# the longest tests wait for environments and subprocesses; two of them share the cores well
test: export OMP_NUM_THREADS := 1
test: export MPLBACKEND := agg
test: $(VENV)/installed-dev renderer
	$(BIN)/python -m pytest tests -n 2 --dist worksteal --durations=8 -ra $(TESTS)

test-slow: export OMP_NUM_THREADS := 1
test-slow: export MPLBACKEND := agg
test-slow: $(VENV)/installed-dev renderer check-docs
	$(BIN)/python -m pytest tests -m slow --durations=8 -ra $(TESTS)

nbdev-test: $(VENV)/installed-dev renderer
	$(BIN)/nbdev_test

# another Python: the base install in an environment of its own, and all of the T-Maze study in small
OTHER = $(notdir $(PYTHON))
test-python:
	@$(MAKE) --no-print-directory tmaze VENV=.venv-$(OTHER) OUT=out/$(OTHER) TMAZE='{preset: smoke}'

# ---- reading and writing the course ----

# the whole repository is served, for notebooks show pictures of results/
ALLOW_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
lab: $(VENV)/installed-lab
	JUPYTER_CONFIG_PATH="$(CURDIR)/docs/lab:$${JUPYTER_CONFIG_PATH:-}" \
	  $(BIN)/jupyter lab --ServerApp.root_dir='$(CURDIR)' --port=$(PORT) $(ALLOW_ROOT) \
	  --LabApp.default_url=/lab/tree/nbs/course/01_paper.ipynb $(ARGS)

notebooks: $(VENV)/installed-dev
	$(BIN)/nbdev_export
	$(BIN)/python docs/generate.py
	$(BIN)/nbdev_clean

readme: $(VENV)/installed-dev
	$(BIN)/python docs/generate.py

# Jupyter Book holds back versions of libraries, so it has an environment of its own
docs:
	@$(MAKE) --no-print-directory book VENV=$(VENV)-docs

book: $(VENV)/installed-docs
	$(BIN)/python docs/book.py

check-docs: docs
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { echo "Installing chromium, which reads the book"; $(call apt,chromium); } || \
	  echo "That failed: have chromium installed"
	$(VENV)-docs/bin/python docs/check.py
