# make demo | test | lint | bench | setup | clean. Each installs what it needs into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
# What the benchmarks hear and see.
RECORDING ?= assets/example/recording.mp4

.PHONY: demo setup test lint bench clean

demo: .venv/setup.done
	$(BIN)/python app.py

setup: .venv/setup.done

test: .venv/test.done lint
	$(BIN)/python -m pytest

lint: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/bench.done
	$(BIN)/python -m tests.benchmarks.bench_alignment
	$(BIN)/python -m tests.benchmarks.bench_speech $(RECORDING)
	$(BIN)/python -m tests.benchmarks.bench_pipeline $(RECORDING)
	$(BIN)/python -m tests.benchmarks.bench_session
	$(BIN)/python -m tests.benchmarks.bench_training

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache

.venv/setup.done: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -r requirements.txt
	touch $@

.venv/test.done: .venv/setup.done pyproject.toml
	$(BIN)/pip install -e '.[test]'
	touch $@

.venv/bench.done: .venv/test.done
	$(BIN)/pip install -e '.[bench]'
	touch $@
