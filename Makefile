# Gearing. Every target works on a fresh clone; `make help` explains them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RIVAL := .venv-bench
OUT ?= out

.DEFAULT_GOAL := help
.PHONY: help setup run study test browser fuzz sim crash soak mutate bench docs check format lock clean

help: ## Shows this help
	@echo "Gearing: issues, runs, prices and explains leveraged tokens"
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Makes .venv with the locked dependencies and this package (the others call it)

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Gearing needs Python 3.11 or later; name one with make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the locked dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: setup ## Runs the demo: four tokens on an invented market, in a live table; Ctrl-C stops it, again goes on
	@$(BIN)/gearing up

study: setup ## Generates a year of BTC minute bars with funding, backtests the example token, writes its report
	@mkdir -p $(OUT)
	@$(BIN)/gearing market make --seed 7 --out $(OUT)/market
	@$(BIN)/gearing token new $(OUT)/BTC3L.toml --force
	@$(BIN)/gearing backtest $(OUT)/BTC3L.toml --prices $(OUT)/market/prices.parquet --funding $(OUT)/market/funding.parquet --report $(OUT)/report.html

test: setup browser ## Runs all tests
	@$(BIN)/python -m pytest -n $$(nproc) --dist loadfile

# Reports are opened in the system's Chromium; without one those tests are skipped and say so.
browser:
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; \
	then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 && \
		echo "Installing Chromium for the tests that open a report" && \
		apt-get update -qq >/dev/null 2>&1 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null 2>&1; then :; \
	else echo "There is no Chromium: tests/test_report_browser.py is left out (install it with: apt-get install chromium)"; fi

fuzz: setup ## Compares the engine with plain loops, and the primary market with a naive model, many thousands of times
	@$(BIN)/python -m pytest tests/test_oracle.py tests/test_legs_oracle.py tests/test_legs_kernel.py \
		tests/test_primary_model.py --hypothesis-profile=fuzz

sim: setup ## Runs the desk on virtual time under seeded faults (SEEDS=200, HOURS=1)
	@$(BIN)/python -m proof.sim --seeds $(or $(SEEDS),200) --hours $(or $(HOURS),1)

crash: setup ## Kills a desk at every boundary, again while it recovers, and stops it for a takeover (SHARE=1)
	@$(BIN)/python -m proof.crash --share $(or $(SHARE),1)

soak: setup ## Runs the demo with clients that deal without pause (MINUTES=60, SPEED=3600)
	@$(BIN)/python -m proof.soak --minutes $(or $(MINUTES),60) --speed $(or $(SPEED),3600)

mutate: setup ## Takes each guard out once, in a copy, and expects its test to fail
	@$(BIN)/python -m proof.mutate

bench: setup $(RIVAL)/.installed ## Measures speed against plain loops and vectorbt, side by side in one run
	@$(BIN)/python -m bench

# vectorbt has an environment of its own, so that its dependencies do not decide on ours.
$(RIVAL)/.installed: bench/requirements.lock
	@test -x $(RIVAL)/bin/python || $(PYTHON) -m venv $(RIVAL)
	@echo "Installing vectorbt into $(RIVAL)"
	@$(RIVAL)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bench/requirements.lock
	@touch $@

docs: setup ## Builds the documentation as a site into out/site; a broken link is an error
	@$(BIN)/python -m zensical build --clean --strict
	@echo "Open $(CURDIR)/out/site/index.html"

check: setup ## Lint, format, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Formats the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: setup ## Renews requirements.lock from pyproject.toml, with hashes, naming no index
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip compile pyproject.toml --extra fetch --extra test --extra check --extra docs --generate-hashes --universal \
		--python-version 3.11 --no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade \
		--output-file requirements.lock
	@echo "vectorbt>=1.0" | $(BIN)/uv pip compile - --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --upgrade --output-file bench/requirements.lock

clean: ## Removes what was built
	@rm -rf $(VENV) $(RIVAL) $(OUT) build dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
