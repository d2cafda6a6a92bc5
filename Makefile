# One verb a target; continuous integration calls the same ones.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
AUDIT := .cache/pip-audit
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20

STACKS := tests/e2e tests/chaos
OUTSIDE := tests/contract $(STACKS)
SMOKE := tests/contract/test_flink_real.py -k "shapes or F01 or F02 or F07 or M12"

.PHONY: help setup lint types layers test matrix simulate bench soak fuzz chaos infra audit lock local local-down demo deploy docs burn-jar runner-jar clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## install everything under this folder (.venv, .cache)

$(STAMP): .ci/requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: Python 3.11 or newer is needed: install it, or name it with PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old, Python 3.11 or newer is needed: name one with PYTHON=…" >&2; exit 1; }
	@echo "setup: installing the locked Python packages into $(VENV) (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[0-9.]+' .ci/requirements.txt)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes .ci/requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

lint: setup  ## ruff: style, bugs, security; cdk-nag: the templates of dev and prod
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -q tests/infra/test_lint.py -k cdk_nag

types: setup  ## mypy, strict
	$(BIN)/mypy

layers: setup  ## the import rules of pyproject.toml
	$(BIN)/lint-imports --no-cache

test: setup  ## every suite but the long proofs; needs Java 17 and Node 20
	@$(BIN)/python -m infra.local install --flink 2.3.0 --flink 1.20.5
	@mkdir -p .cache
	@echo "test: two halves side by side; what runs on whole stacks is printed when the other half is through"
	@( FLINK_VERSION=1.20.5 $(BIN)/pytest -q $(SMOKE) && $(BIN)/pytest $(STACKS) -m "not failover and not pyflink and not kerberos" ) > .cache/stacks.log 2>&1 & stacks=$$!; \
	trap 'kill $$stacks 2>/dev/null' INT TERM; \
	$(BIN)/pytest $(STACKS:%=--ignore=%) -m "not failover and not pyflink and not kerberos"; rest=$$?; \
	wait $$stacks; found=$$?; cat .cache/stacks.log; exit $$(( rest > found ? rest : found ))

matrix: setup  ## everything that touches Flink, on 2.3 and on 1.20
	@$(BIN)/python -m infra.local install --flink 2.3.0 --flink 1.20.5
	FLINK_VERSION=2.3.0 $(BIN)/pytest $(OUTSIDE)
	FLINK_VERSION=1.20.5 $(BIN)/pytest $(OUTSIDE)

simulate: setup  ## every fault at every point of every story, pairs, random worlds, mutants: make simulate SECONDS=600
	$(BIN)/python -m tests.simulation.simulate --seconds $(or $(SECONDS),600)

bench: setup  ## everything that is measured, unattended, under 30 minutes: make bench ONLY=latency,page or SKIP=fleet
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --requirement .ci/bench.txt
	$(BIN)/python -m tests.bench $(if $(ONLY),--only $(ONLY)) $(if $(SKIP),--skip $(SKIP))

soak: setup  ## an hour of changes to 300 real jobs, a TaskManager killed now and then: make soak JOBS=300 SECONDS=3600
	@$(BIN)/python -m infra.local install --flink 2.3.0
	$(BIN)/python -m tests.bench.soak --jobs $(or $(JOBS),300) --seconds $(or $(SECONDS),3600)

fuzz: setup  ## 200,000 damaged envelopes, keys and archives, and as many damaged events through the handlers
	$(BIN)/python -m tests.fuzz

chaos: setup  ## kill the reconciling process 200 times on the emulator and a real Flink
	$(BIN)/python -m tests.chaos.replay

infra: setup  ## synthesize the templates of dev and prod
	$(BIN)/python -m pytest tests/infra

$(AUDIT)/.installed: .ci/audit.txt
	@$(BIN)/uv venv --quiet --clear $(AUDIT)
	@$(BIN)/uv pip sync --quiet --python $(AUDIT)/bin/python --require-hashes $<
	@touch $@

audit: setup $(AUDIT)/.installed  ## the locked dependencies against known vulnerabilities; 1 findings, 3 no database was reached
	@$(BIN)/python -m infra.local install --only cdk
	@$(BIN)/python -m infra.audit $(AUDIT)/bin/pip-audit .cache/aws-cdk-2.1148.1

lock: setup  ## lock the dependencies anew, with hashes
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra cli --group dev --output-file .ci/requirements.txt pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group bench --constraints .ci/requirements.txt --output-file .ci/bench.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --output-file layers/dependencies/requirements.txt layers/dependencies/requirements.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --output-file .ci/audit.txt .ci/audit.in

local: setup  ## start AWS and Flink on this machine and deploy the controller there
	@$(BIN)/python -m infra.local up

local-down: setup  ## stop what `make local` started
	@$(BIN)/python -m infra.local down

demo: setup  ## show the main job on a real Flink: deploy, upgrade, counter intact
	@$(BIN)/python -m infra.local.demo

deploy: setup  ## deploy to the AWS account of the environment: make deploy ENVIRONMENT=dev
	$(BIN)/python -m infra.local install --only cdk
	.cache/aws-cdk-2.1148.1/node_modules/.bin/cdk deploy --context environment=$(or $(ENVIRONMENT),dev)

docs: setup  ## write the generated pages anew: docs/cli.md, docs/job-spec.md, docs/settings.md
	$(BIN)/python -m flink_controller.cli.reference > docs/cli.md
	$(BIN)/python -m infra.docs > docs/job-spec.md
	$(BIN)/python -m infra.docs settings > docs/settings.md

burn-jar: setup  ## build the burn jar from its source
	$(BIN)/python -m infra.local.burn_jar

runner-jar: setup  ## build what runs SQL scripts from its source
	$(BIN)/python -m infra.local.runner_jar

clean:  ## remove everything that was installed or built here
	rm -rf $(VENV) .cache .local cdk.out
