# The environment in .venv and what a developer runs in it. `make quickstart` is the place to start.
# On a GPU: make EXTRAS=gpu,test, once Paddle's GPU build is at hand (see setup.py).

PYTHON ?= python3
EXTRAS ?= cpu,test
FUZZ_SECONDS ?= 600

# A Python that the user names is taken or refused; otherwise the first suitable one on the PATH is.
ifeq ($(origin PYTHON),file)
CANDIDATES := $(PYTHON) python3.12 python3.11 python3.10 python3.9
else
CANDIDATES := $(PYTHON)
endif
SUITABLE := import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))
STAMP := .venv/installed

.PHONY: quickstart test fuzz lint clean

quickstart: $(STAMP)
	.venv/bin/python tools/train.py -c configs/quickstart.yaml

# Two files at a time: a test is Python more than arithmetic, so that two cores do two.
test: $(STAMP)
	.venv/bin/python -m pytest tests --numprocesses 2 --dist loadfile

# New examples in every pass, until the time is over or one of them fails; what failed is tried first the next time.
fuzz: $(STAMP)
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); \
	while [ "$$(date +%s)" -lt "$$end" ]; do \
	    FUZZ_EXAMPLES=500 .venv/bin/python -m pytest tests/fuzz -q || exit 1; \
	done

lint: $(STAMP)
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The stamp is removed first and written last, so that a failed installation is tried again.
$(STAMP): setup.py
	@rm -f $@
	@if ! { .venv/bin/python -c '$(SUITABLE)' && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then \
	    python=; \
	    for candidate in $(CANDIDATES); do \
	        if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then \
	        echo "error: Python 3.9 to 3.12 is needed, found none among: $(CANDIDATES). Name one: make PYTHON=/path/to/python3.11" >&2; \
	        exit 1; \
	    fi; \
	    echo "Creating .venv with $$("$$python" --version)"; \
	    if ! "$$python" -m venv --clear .venv; then \
	        echo "error: $$python cannot create .venv. On Debian and Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	fi
	@echo "Installing ernie_tiny and its packages into .venv (about 2 GB, some minutes)"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]'
	@touch $@
