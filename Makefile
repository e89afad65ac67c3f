# Two commands: `make app` and `make test`. Each sets up what it needs; a second call starts at once.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do command -v $$p && break; done)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# Two processes of one thread each: small models gain little from a second thread. Whoever is done takes over from the other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: app test setup check fast docs curves audit holes clean chromium

app: $(READY)
	$(BIN)/python app.py

test: $(READY_DEV) chromium holes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(PYTEST)

setup: $(READY)

# Formatting, lint, types and the fast tests: under a minute.
check: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(PYTEST) -m "not slow and not browser"

fast: $(READY_DEV)
	$(PYTEST) -m "not slow and not browser"

# The pages of docs/ that are made from the code; a test fails while one of them is stale.
docs: $(READY)
	$(BIN)/python -m engine.reference

# Trains the samples and draws their curves for the guides: about a quarter of an hour.
curves: $(READY)
	$(BIN)/python docs/draw_curves.py

# Known holes in the pinned versions, as the package index tells them.
audit:
	$(PYTHON) scripts/audit.py $(PINS)

# The same among the tests: a known hole fails them, an index that cannot be asked is told and fails nothing.
holes:
	@$(PYTHON) scripts/audit.py $(PINS) || test $$? -eq 2

# torch first and by itself: its CPU build is 10 times smaller than the CUDA build that a plain install fetches.
$(READY): pyproject.toml constraints.txt scripts/install_torch.sh
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 12) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}. Try: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1,<27"
	sh scripts/install_torch.sh $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

# DeepSpeed lies in a folder of its own: accelerate would import it in every training that can see it.
$(READY_DEV): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps --upgrade \
	  --target $(VENV)/deepspeed deepspeed einops hjson msgpack ninja py-cpuinfo
	@touch $@

# The browser tests drive Chromium. Where there is none, install it when we may, else say how.
chromium:
	@sh scripts/install_chromium.sh

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache
