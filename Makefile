# Everything that a person or a machine runs; a fresh clone needs only Python 3.11+ and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Python keeps what it compiles, whatever the environment says: TensorFlow alone takes three times as
# long to import otherwise, and the tests start it in hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo docs test check bench bench-reliability bench-service chaos vendor wheel lock clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

demo: install
	$(BIN)/lucency demo demo

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

# The pages as a website, in build/docs; every warning is an error.
docs: install
	$(BIN)/sphinx-build --quiet --fail-on-warning --fresh-env -b html docs build/docs

# `.venv/bin/python -m benchmarks` lists all benchmarks.
bench: install
	$(BIN)/python -m benchmarks speed accuracy trust

# Kills, full disks, corrupt and hostile files: about an hour.
bench-reliability: install
	$(BIN)/python -m benchmarks reliability

# The service under load, restarts and hostile clients, on this computer only: about 20 minutes.
bench-service: install
	$(BIN)/python -m benchmarks service

# Kills of processes, nodes and commands of a cluster on this computer: about an hour.
chaos: install
	$(BIN)/python -m benchmarks cluster_kills fold_kills

# What the page of `lucency export --format web` needs from elsewhere; needs npm.
VENDOR := src/lucency/serve/web/static/vendor
vendor: $(VENDOR)/ort-wasm-simd-threaded.wasm

$(VENDOR)/ort-wasm-simd-threaded.wasm: vendor/package-lock.json
	cd vendor && npm ci --ignore-scripts --no-audit --no-fund
	mkdir -p $(VENDOR)
	cp vendor/onnxruntime-web-LICENSE.txt $(VENDOR)/LICENSE.txt
	cd vendor/node_modules/onnxruntime-web/dist && cp ort.wasm.min.mjs \
		ort-wasm-simd-threaded.mjs ort-wasm-simd-threaded.wasm $(CURDIR)/$(VENDOR)
	touch $@
	rm -rf vendor/node_modules

# The wheel alone, with what it asks for and nothing of ours around it.
wheel: install $(if $(shell command -v npm),vendor)
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	$(PYTHON) -m venv --without-pip build/wheel/venv
	sed -n 's/^\([a-z0-9._-]*==.*\) \\$$/\1/p' requirements.lock > build/wheel/constraints.txt
	$(BIN)/python -m pip --python build/wheel/venv install --quiet --no-compile -c build/wheel/constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/lucency --help > /dev/null
	cd build/wheel && venv/bin/python -c "from lucency import Classifier, report, evaluation"

# Needs uv; the lock holds names, versions and hashes, and no address of an index.
lock:
	uv pip compile pyproject.toml --group dev --group docs \
		$(foreach extra,tensorflow jax pretrained serve gdcm openvino tensorboard mlflow cluster parquet search,--extra $(extra)) \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--output-file requirements.lock

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache
