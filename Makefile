SHELL := /bin/bash
EXTRAS := torch,dev
BIN := .venv/bin
STAMP := .venv/.installed
RUNS := .venv/.runs
NATIVE := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.PHONY: demo test browser lint clean

demo: $(RUNS)
	$(BIN)/python -m tools.demo $(if $(CLIP),--clip "$(CLIP)") $(if $(PIPELINE),--pipeline $(PIPELINE))

# One thread each: two workers with two each would be four on two cores. A test that kills its worker takes
# no other with it: it is reported by name, and a new worker goes on.
test: export OMP_NUM_THREADS = 1
test: export CUDA_VISIBLE_DEVICES =
test: lint browser
	$(BIN)/python -m pytest -n 2
	$(BIN)/python -m tools.check.avx2_lane -n 2

# The live page's tests need a browser (59 MB); without one they skip.
browser:
	@command -v chromium-headless-shell chromium google-chrome >/dev/null || tools/get_browser.sh

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

# Also what rebuilds the kernels after a change in csrc/.
SETUP := pyproject.toml CMakeLists.txt tools/setup_venv.sh x2c_edge/__init__.py $(NATIVE)

# And after a move of this checkout, another PYTHON, or an interrupted set-up.
STALE := $(shell PYTHON="$(PYTHON)" tools/setup_venv.sh --fits || echo stale)
.PHONY: stale

# What the default pack runs with: no PyTorch.
$(RUNS): $(SETUP) $(STALE)
	PYTHON="$(PYTHON)" tools/setup_venv.sh
	@touch $@

$(STAMP): $(SETUP) $(STALE)
	PYTHON="$(PYTHON)" tools/setup_venv.sh $(EXTRAS)
	@touch $@ $(RUNS)

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
