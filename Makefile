# make demo | test | lint | bench | soak | setup | clean. Each installs what it needs into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install -c constraints.txt
# Parallel test workers
WORKERS ?= 2
# Recording that the benchmarks read
RECORDING ?= assets/example/recording.mp4

.PHONY: demo setup test lint bench soak clean

demo: .venv/setup.done
	$(BIN)/python app.py --local-paths

setup: .venv/setup.done

test: .venv/test.done lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --cov --cov-fail-under=93

lint: .venv/test.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

soak: .venv/test.done
	$(BIN)/python -m pytest -m soak

bench: .venv/bench.done
	$(BIN)/python -m tests.benchmarks.bench_alignment
	$(BIN)/python -m tests.benchmarks.bench_speech $(RECORDING)
	$(BIN)/python -m tests.benchmarks.bench_pipeline $(RECORDING)
	$(BIN)/python -m tests.benchmarks.bench_session
	$(BIN)/python -m tests.benchmarks.bench_training

clean:
	rm -rf .venv build dist *.egg-info .coverage .pytest_cache .ruff_cache

.venv/setup.done: requirements.txt constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) -r requirements.txt
	touch $@

.venv/test.done: .venv/setup.done pyproject.toml
	$(INSTALL) -e '.[test]'
	touch $@

.venv/bench.done: .venv/test.done
	$(INSTALL) -e '.[bench]'
	touch $@
