SHELL := /bin/bash
EXTRAS := torch,dev
BIN := .venv/bin
STAMP := .venv/.installed
RUNS := .venv/.runs
NATIVE := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.PHONY: demo test lint clean

demo: $(RUNS)
	$(BIN)/python -m tools.demo $(if $(CLIP),--clip "$(CLIP)")

test: lint
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

# Also what rebuilds the kernels after a change in csrc/.
SETUP := pyproject.toml CMakeLists.txt tools/setup_venv.sh x2c_edge/__init__.py $(NATIVE)

# What the default pack runs with: no PyTorch.
$(RUNS): $(SETUP)
	PYTHON="$(PYTHON)" tools/setup_venv.sh
	@touch $@

$(STAMP): $(SETUP)
	PYTHON="$(PYTHON)" tools/setup_venv.sh $(EXTRAS)
	@touch $@ $(RUNS)

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
