# What is needed: a python3 of 3.11 or newer, make, and the package registries.
#
#   make demo    walk through the life of plugins in the sample shop
#   make serve   serve the shop's page for operators and its plugin API on 127.0.0.1
#   make test    lint, types, every test on the built wheel with the newest Python that is found,
#                and a part of them with the oldest Python and the lowest dependencies
#   make test-browser   test the page for operators in Chromium, which it installs on Debian
#   make bench   measure plugreg beside its peers; make bench-quick does less, in two minutes
#   make docs    build the documentation into build/docs; make docs-links looks at its external links
#   make clean   remove all that these have made
#
# Another Python: make test PYTHON=python3.13. Another port: make serve SERVE_PORT=8123

PYTHON ?= python3
SERVE_PORT ?= 8000

# One pip, new enough for dependency groups, fills all environments.
PIP := build/tools/bin/pip --disable-pip-version-check
PLUGREG := build/wheels/plugreg-*.whl
SOURCES := pyproject.toml README.md LICENSE pytest_plugreg.py $(shell find plugreg sample_plugins \
	-name '*.py' -o -name '*.js' -o -name '*.css' -o -name '*.html' -o -name '*.mo' \
	-o -name '*.txt' -o -name 'py.typed' -o -name 'pyproject.toml')

# Without the folder it is started in on its path, a Python tests what is installed.
export PYTHONSAFEPATH := 1
export PIP_ROOT_USER_ACTION := ignore

.PHONY: demo serve test lint test-newest test-oldest test-browser test-next-pluggy browser pictures bench \
	bench-quick bench-hot docs docs-links clean always
.DELETE_ON_ERROR:

demo: .venv-demo/done
	@.venv-demo/bin/python -m shop.demo

serve: .venv-serve/done
	@.venv-serve/bin/python -m shop.serve --port $(SERVE_PORT) --wheels build/wheels

test: lint test-newest test-oldest

# The newest Python on the path that really starts: version managers leave commands there for
# versions that they do not have. Another one: make test NEWEST=python3.12
newer = $(shell $(PYTHON) -c 'import sys; print(*range(19, sys.version_info[1], -1))' 2>/dev/null)
on_path = $(wildcard $(addsuffix /python3.$(1),$(subst :, ,$(PATH))))
starting = $(shell $(1) -c 'import sys, venv; print(sys.executable)' 2>/dev/null)
NEWEST := $(firstword $(foreach minor,$(newer),$(foreach python,$(call on_path,$(minor)),\
	$(call starting,$(python)))) $(PYTHON))

# -- what everything is made of ---------------------------------------------------------------

# Written anew when another Python is asked for, and then all that was made of the old one is, too.
build/python: always
	@mkdir -p build
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	"plugreg needs Python 3.11 or newer, and $(PYTHON) is " + sys.version.split()[0] + \
	"; say which one to use: make PYTHON=python3.13")'
	@for python in "$(PYTHON)" "$(NEWEST)"; do \
		$$python -c 'import sys; print(sys.executable, sys.version)'; done > $@.now
	@if test "$$(cat $@.now)" = "$$(cat $@ 2>/dev/null)"; then rm $@.now; else mv $@.now $@; fi

build/tools/done: build/python pyproject.toml
	$(PYTHON) -m venv --clear build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(PIP) install --quiet --group build
	@touch $@

# plugreg, the shop and its plugins, as they would be published.
build/wheels/done: build/tools/done $(SOURCES)
	rm -rf build/wheels
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheels \
		. $(wildcard sample_plugins/*/)
	@touch $@

# The samples, installed in a folder of their own for the tests. One of them is too new for this
# shop on purpose, which pip would refuse: hence --no-deps, here and in the demo.
build/samples/done: build/wheels/done
	rm -rf build/samples
	$(PIP) install --quiet --no-deps --no-index --no-compile --target build/samples \
		build/wheels/shop*.whl
	@touch $@

# pluggy's own tests, of the version that is installed.
build/pluggy/done: build/tools/done | .venv/done
	rm -rf build/pluggy
	$(PIP) download --quiet --no-deps --no-binary pluggy --dest build/pluggy \
		pluggy==$$(.venv/bin/python -c 'import pluggy; print(pluggy.__version__)')
	$(PYTHON) -m tarfile --extract build/pluggy/pluggy-*.tar.gz build/pluggy
	mv build/pluggy/pluggy-*/ build/pluggy/sdist
	@touch $@

# -- the demo and the server ------------------------------------------------------------------

.venv-demo/done: build/wheels/done
	$(PYTHON) -m venv --clear --without-pip .venv-demo
	$(PIP) --python .venv-demo/bin/python install --quiet $(PLUGREG)
	$(PIP) --python .venv-demo/bin/python install --quiet --no-deps build/wheels/shop*.whl
	@touch $@

# The page installs with the pip of the environment, and one plugin is left to be installed.
.venv-serve/done: build/wheels/done
	$(PYTHON) -m venv --clear .venv-serve
	$(PIP) --python .venv-serve/bin/python install --quiet \
		"$$(echo $(PLUGREG))[admin,starlette]" "$$(echo build/wheels/shop-*.whl)[serve]" \
		build/wheels/shop_rates-*.whl
	$(PIP) --python .venv-serve/bin/python install --quiet --no-deps \
		$$(ls build/wheels/shop*.whl | grep -v shop_gift_wrap)
	@touch $@

# -- the tests --------------------------------------------------------------------------------

.venv/done: build/wheels/done
	$(NEWEST) -m venv --clear --without-pip .venv
	$(PIP) --python .venv/bin/python install --quiet --group test --group lint $(PLUGREG)
	@touch $@

# As many tests at once as there are cores.
AT_ONCE := --numprocesses=auto --dist=worksteal

TESTS := PLUGREG_TEST_WHEEL=1 PLUGREG_SAMPLES="$(CURDIR)/build/samples" \
	PLUGREG_PLUGGY_SDIST="$(CURDIR)/build/pluggy/sdist"

lint: .venv/done
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# The executable, not "python -m pytest": that one would import the checkout.
test-newest: .venv/done build/samples/done build/pluggy/done
	$(TESTS) .venv/bin/pytest $(AT_ONCE) --cov

# The oldest Python, and the lowest version of every dependency, of every extra, and of the tools
# that test them. These tests use each of them; all tests would take many times as long.
OLDEST := $(addprefix tests/, \
	admin/test_plugins.py admin/test_settings.py admin/test_templates.py \
	adapters/test_adapters.py adapters/test_apscheduler.py adapters/test_otel.py \
	cli/test_declare.py cli/test_help.py cli/test_listing.py \
	api/test_models.py storage/test_conformance.py storage/test_opening.py storage/sql/test_storage.py \
	storage/file/test_tinydb.py _calls/aio discovery/test_entry_points.py \
	hooks/test_manager.py hooks/test_pluggy_pin.py settings/test_types.py test_encryption.py \
	test_hints.py test_schedules.py test_start.py docs/test_sphinxext.py)

test-oldest: .venv-oldest/done build/samples/done
	$(TESTS) .venv-oldest/bin/pytest $(AT_ONCE) $(OLDEST)

.venv-oldest/done: build/wheels/done .venv/done
	$(PYTHON) -m venv --clear --without-pip .venv-oldest
	.venv/bin/uv pip compile --quiet --python .venv-oldest/bin/python --all-extras --group tools \
		--resolution lowest-direct --output-file build/lowest.txt pyproject.toml
	.venv/bin/uv pip install --quiet --python .venv-oldest/bin/python \
		--requirement build/lowest.txt $(PLUGREG)
	@touch $@

# The page in a real browser: part of the tests, which are skipped where there is none.
test-browser: browser build/samples/done
	$(TESTS) PLUGREG_TEST_NO_SKIP=1 .venv/bin/pytest $(AT_ONCE) tests/browser

# The pictures of the page in the documentation, anew.
pictures: browser build/samples/done
	$(TESTS) PLUGREG_PICTURES=1 PLUGREG_TEST_NO_SKIP=1 .venv/bin/pytest tests/browser/test_pictures.py

# Debian's package; elsewhere a program named chromium has to be on the path.
browser: .venv/browser
	@command -v chromium >/dev/null || { apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive \
		apt-get install --quiet=2 --yes --no-install-recommends chromium; }

.venv/browser: .venv/done
	$(PIP) --python .venv/bin/python install --quiet --group browser
	@touch $@

# Advice, and no part of the tests: the tests of the hooks on pluggy's next release, where its
# pre-release is on the index.
test-next-pluggy: .venv/done build/samples/done
	rm -rf build/next-pluggy
	$(PIP) download --quiet --pre --no-deps --dest build/next-pluggy pluggy
	@if ls build/next-pluggy | grep -qE '^pluggy-[0-9.]+-'; then echo "pluggy has no pre-release"; \
	else $(MAKE) --no-print-directory .venv-next-pluggy/done \
		&& $(TESTS) .venv-next-pluggy/bin/pytest $(AT_ONCE) tests/hooks; fi

.venv-next-pluggy/done: .venv/done
	$(NEWEST) -m venv --clear --without-pip .venv-next-pluggy
	$(PIP) --python .venv-next-pluggy/bin/python install --quiet --group test $(PLUGREG)
	$(PIP) --python .venv-next-pluggy/bin/python install --quiet --no-deps build/next-pluggy/*
	@touch $@

# -- the benchmarks ---------------------------------------------------------------------------

.venv-bench/done: build/wheels/done
	$(PYTHON) -m venv --clear --without-pip .venv-bench
	$(PIP) --python .venv-bench/bin/python install --quiet --group bench \
		"$$(echo $(PLUGREG))[postgresql,mariadb]"
	@touch $@

# More options: make bench BENCH="--huge --compare benchmarks/results/bench.json"
BENCH :=

# The modules of the benchmarks lie in one folder, and find each other there.
bench: .venv-bench/done
	env -u PYTHONSAFEPATH .venv-bench/bin/python benchmarks/run.py \
		--json benchmarks/results/bench.json --svg benchmarks/results $(BENCH)

bench-quick: .venv-bench/done
	env -u PYTHONSAFEPATH .venv-bench/bin/python benchmarks/run.py --quick \
		--json benchmarks/results/quick/bench.json --svg benchmarks/results/quick $(BENCH)

# Each run is kept, so that it can be compared: make bench-hot BENCH=--benchmark-compare
bench-hot: .venv-bench/done
	PYTHONPATH=benchmarks .venv-bench/bin/pytest benchmarks/test_hot_paths.py \
		--benchmark-storage=benchmarks/results/hot --benchmark-autosave $(BENCH)

# -- the documentation ------------------------------------------------------------------------

# What it documents needs the extras' packages to be imported.
DOCUMENTED := secrets,sql,redis,starlette,fastapi,django,flask,schedule,otel,sphinx,cli,contract,admin,kit
SPHINX := .venv-docs/bin/sphinx-build --nitpicky --fail-on-warning --keep-going --quiet \
	--doctree-dir build/doctrees

.venv-docs/done: build/wheels/done
	$(NEWEST) -m venv --clear --without-pip .venv-docs
	$(PIP) --python .venv-docs/bin/python install --quiet --group docs \
		"$$(echo $(PLUGREG))[$(DOCUMENTED)]"
	@touch $@

# The sample shop documents its hooks and plugins with plugreg.sphinxext.
docs: .venv-docs/done build/samples/done
	PYTHONPATH="$(CURDIR)/build/samples" $(SPHINX) docs build/docs
	@echo "open build/docs/index.html"

docs-links: .venv-docs/done build/samples/done
	PYTHONPATH="$(CURDIR)/build/samples" $(SPHINX) -b linkcheck docs build/links

clean:
	rm -rf build dist .venv .venv-* .coverage .coverage.* .hypothesis .*_cache
