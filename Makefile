SHELL := /bin/bash
EXTRAS := torch,dev
BIN := .venv/bin
STAMP := .venv/.installed
NATIVE := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cu')

.PHONY: demo test browser lint clean

demo: $(STAMP)
	$(BIN)/python -m tools.demo $(if $(CLIP),--clip "$(CLIP)")

test: lint browser
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python -m pytest -n 2

# The live page's tests need a browser (59 MB); without one they skip.
browser:
	@command -v chromium-headless-shell chromium google-chrome >/dev/null || tools/get_browser.sh

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(NATIVE)

# Also what rebuilds the kernels after a change in csrc/.
$(STAMP): pyproject.toml CMakeLists.txt tools/setup_venv.sh x2c_edge/__init__.py $(NATIVE)
	PYTHON="$(PYTHON)" tools/setup_venv.sh $(EXTRAS)
	@touch $@

clean:
	rm -rf build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
