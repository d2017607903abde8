# Needs Python 3.11 or newer, and nothing else: every target first makes the environment that it needs, in .venv.

PYTHON ?= python3
WORKERS ?= 2

VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# Each stamp is newer than pyproject.toml as long as what it stands for is installed.
CREATED := $(VENV)/.created
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

SLOW := browser or training or sweep or site
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help venv demo lab test zoo test-fast test-python test-lowest check docs screenshots files faults case-study zoo-page stress mutants coverage bench clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

venv: $(RUNTIME)  ## what qdiag needs, in .venv (torch is a few GB)

demo: $(RUNTIME)  ## diagnose a small network with five faults
	$(BIN)/qdiag demo

lab: $(RUNTIME)  ## the guided notebooks, in JupyterLab
	$(BIN)/qdiag lab

test: $(DEV)  ## the whole suite: a model of each family, training, notebooks, a real browser
	$(PYTEST) --nbmake -m "not zoo" tests qdiag notebooks

zoo: $(DEV)  ## every model of torchvision, also those that take minutes
	$(PYTEST) -m "sweep" tests

test-fast: $(DEV)  ## the tests that need no browser, train nothing and take a sample of the models
	$(PYTEST) -m "not ($(SLOW))"

test-python:  ## the same with another Python, in an environment of its own: make test-python PYTHON=python3.13
	$(MAKE) test-fast VENV=.venv-$(notdir $(PYTHON))

test-lowest:  ## the same with the lowest versions that pyproject.toml allows, in an environment of its own
	$(MAKE) .venv-lowest/.lowest VENV=.venv-lowest
	.venv-lowest/bin/pytest --numprocesses $(WORKERS) --dist loadgroup -m "not ($(SLOW))"

check: $(DEV)  ## ruff, mypy, import contracts, notebooks stored without outputs
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --keep-id --verify $(NOTEBOOKS)

docs: $(DEV)  ## the documentation, in site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build
	@echo "Open site/index.html: it needs no network."

screenshots: $(DEV)  ## the pictures of the workbench in docs/, taken in a real browser
	$(BIN)/python -m tests.browser.screenshots docs

files: $(DEV)  ## docs/model_files.md: which model files go through qdiag; DATA=folder for published weights
	$(BIN)/python examples/model_files.py docs/model_files.md $(if $(DATA),--data $(DATA))

faults: $(DEV)  ## docs/faults.md: what qdiag says of known faults, held against the truth; goes on where it was stopped
	$(BIN)/python -m tests.faults.run docs/faults.md $(FAULTS)

case-study: $(DEV)  ## docs/case_study.md: MobileNetV2 from chance to float by the tool's own advice; DATA=folder, some minutes
	@test -n "$(DATA)" || { echo "Name the folder with the network and the images: make case-study DATA=folder"; exit 1; }
	QDIAG_DATA=$(abspath $(DATA)) $(BIN)/jupyter nbconvert --to notebook --execute --inplace examples/case_study.ipynb \
		--ExecutePreprocessor.timeout=7200
	$(BIN)/jupyter nbconvert --to markdown --output-dir docs examples/case_study.ipynb

zoo-page: $(DEV)  ## docs/zoo.md: which networks of torchvision and timm go through; goes on where it was stopped
	$(BIN)/python examples/zoo.py docs/zoo.md $(ZOO)

stress: $(DEV)  ## docs/reliability.md: networks, damaged files and kills by the thousand; goes on where it was stopped
	$(BIN)/python -m tests.stress.run docs/reliability.md $(STRESS)

mutants: $(DEV)  ## small faults put into qdiag/numerics: which of them do its tests not see
	$(BIN)/python -m tests.mutants.run $(MUTANTS)

coverage: $(DEV)  ## what of qdiag/ the fast tests run, in percent
	$(PYTEST) -m "not ($(SLOW))" --cov qdiag --cov-report term:skip-covered

bench: $(DEV)  ## docs/speed.md: what everything costs, in forwards of the model itself; on a quiet machine
	$(BIN)/python -m tests.bench.run docs/speed.md $(BENCH)

clean:  ## remove builds and caches, but not .venv
	rm -rf build dist site test-results .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find qdiag tests examples -name __pycache__ -prune -exec rm -rf {} +

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "qdiag needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>/dev/null || echo not there)."; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"  # the first that reads dependency groups
	@touch $@

$(RUNTIME): pyproject.toml $(CREATED)
	@echo "Installing qdiag in $(VENV), once: torch is a few GB, and takes some minutes."
	$(BIN)/python -m pip install --editable .
	@touch $@

$(DEV): pyproject.toml $(CREATED)
	@echo "Installing qdiag and its development tools in $(VENV), once: torch is a few GB, and takes some minutes."
	$(BIN)/python -m pip install --editable ".[imagenet,onnx]" --group dev
	@touch $(RUNTIME) $@

# pip takes the newest of everything; uv can take the oldest. What tests need beside is the newest that fits.
$(VENV)/.lowest: pyproject.toml $(CREATED)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --python $(BIN)/python --resolution lowest-direct --editable ".[imagenet,onnx,tensorboard]"
	$(BIN)/python -m pip install --group test
	@touch $@
