# Two commands for people: `make demo` and `make test`. Both set up everything they need in .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Large CPU tensors otherwise spend much of their time in page faults (glibc returns every big block to the kernel).
MALLOC := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_ARENA_MAX=1

# One thread: threads that wait for a busy core only make others wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: demo test test-fast test-conditions lint format bench clean

demo: $(INSTALLED)  ## the whole chain on a drawn street; then open out/demo/report.html
	$(MALLOC) $(BIN)/python -m pretrain demo $(ARGS)

test: $(INSTALLED)  ## the whole test suite
	$(PYTEST) -n 2 $(ARGS)

test-fast: $(INSTALLED)  ## what needs neither Ray nor seconds by itself
	$(PYTEST) -n 2 -m "not ray and not slow" $(ARGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test-conditions: $(INSTALLED)  ## the tests as on other processors, in other places: an hour or two, or ARGS='-- -m "not ray"'
	$(BIN)/python -m tests.conditions $(ARGS)

bench: $(INSTALLED)  ## speed and memory as ratios against baselines in the same run
	$(MALLOC) $(BIN)/python -m benchmarks.speed $(ARGS)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: Python 3.11 or newer is needed; say which one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): about 5 GB, a few minutes"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) out
