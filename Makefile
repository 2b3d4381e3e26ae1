# Each target works as the first command on a fresh clone: all it needs is Python 3.11 or later, and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: run setup check test test-fast demo bench bench-drift bench-years bench-peers bench-batch bench-scaling bench-startup bench-judge bench-ledger bench-features bench-search mlflow audit lock clean

run: $(STAMP)  ## Train if there is no champion, serve, and say where (DATA=file.csv trains on that file)
	@exec $(BIN)/forewarn up $(if $(DATA),--data "$(DATA)")

setup: $(STAMP)  ## Make the environment alone

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Forewarn needs Python 3.11 or later: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing what requirements.lock names into .venv (some minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

check: $(STAMP)  ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(STAMP)  ## Everything, on a real Ray
	$(BIN)/python -m pytest

test-fast: $(STAMP)  ## What needs no Ray, and no patience
	$(BIN)/python -m pytest -m "not cluster and not slow"

bench: $(STAMP)  ## The pipeline beside a plain FastAPI process, Ray Serve's defaults and other servers, with a picture
	$(BIN)/python -m benchmarks.serving

bench-peers: $(STAMP)  ## BentoML and MLServer, each in an environment of its own, for make bench
	for peer in bentoml mlserver; do \
		$(PYTHON) -m venv .venv-$$peer && .venv-$$peer/bin/python -m pip install --quiet $$peer xgboost-cpu==3.2.0; done

bench-scaling: $(STAMP)  ## A step of load: replicas come and go, with a picture (four minutes)
	$(BIN)/python -m benchmarks.scaling

bench-features: $(STAMP)  ## Preprocessing: one row, a thousand rows, and the same with pandas
	$(BIN)/python -m benchmarks.preprocessing

bench-startup: $(STAMP)  ## CPU, memory and libraries of each deployment as it stands up, beside Ray Serve alone
	$(BIN)/python -m benchmarks.startup

bench-batch: $(STAMP)  ## Parquet files of 1, 4 and 10 million rows beside one core that only reads and predicts (six minutes)
	$(BIN)/python -m benchmarks.batch --rows 1000000 4000000 10000000 --rounds 3

audit: $(STAMP)  ## The locked dependencies beside the public list of vulnerabilities (needs the internet)
	@test -x .venv-audit/bin/pip-audit || (python3 -m venv .venv-audit && .venv-audit/bin/pip install --quiet pip-audit)
	.venv-audit/bin/pip-audit --requirement requirements.lock --no-deps --disable-pip

demo: $(STAMP)  ## The whole story in minutes: serve, drift, retrain, release, roll back, forget; leaves reports/demo/demo.html
	@exec $(BIN)/forewarn demo $(if $(SHORT),--short)

bench-drift: $(STAMP)  ## How often drift is cried where there is none, and found where there is, beside Evidently (ten minutes)
	$(BIN)/python -m benchmarks.drift

bench-years: $(STAMP)  ## Year by year beside what was learned: alarms, estimate and truth (FILE=mfg_termination.csv)
	$(BIN)/python -m benchmarks.termination $(FILE)

bench-judge: $(STAMP)  ## How often the judge of releases errs: simulated canaries (two minutes)
	$(BIN)/python -m benchmarks.sequential

bench-ledger: $(STAMP)  ## What it costs the request path that every answer is written down, on SQLite and PostgreSQL (seven minutes)
	$(BIN)/python -m benchmarks.ledger

bench-search: $(STAMP)  ## The search beside scikit-learn's RandomizedSearchCV(100), with a picture (DATA=churn=file.csv)
	$(BIN)/python -m benchmarks.search $(DATA)

mlflow: $(STAMP)  ## Experiments and model versions at http://127.0.0.1:5000
	@exec $(BIN)/forewarn mlflow

lock: $(STAMP)  ## Write down what the environment holds, by name and version
	$(BIN)/python -m pip freeze --exclude-editable | LC_ALL=C sort -f > requirements.lock

clean:  ## Remove the environments; .forewarn, which holds your models, stays
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
