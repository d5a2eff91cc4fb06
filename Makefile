# Each target is one line over lyceum.py, which also runs without make.
PYTHON ?= python3

.PHONY: run test check mutants bench lock

run:
	@$(PYTHON) lyceum.py run

test:
	@$(PYTHON) lyceum.py test $(ARGS)

check:
	@$(PYTHON) lyceum.py check

mutants:
	@$(PYTHON) lyceum.py mutants $(ARGS)

bench:
	@$(PYTHON) lyceum.py bench

lock:
	@$(PYTHON) lyceum.py lock
