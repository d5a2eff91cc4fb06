# Each target is one line over lyceum.py, which also runs without make.
PYTHON ?= python3

.PHONY: run test check bench lock

run:
	@$(PYTHON) lyceum.py run

test:
	@$(PYTHON) lyceum.py test $(ARGS)

check:
	@$(PYTHON) lyceum.py check

bench:
	@$(PYTHON) lyceum.py bench

lock:
	@$(PYTHON) lyceum.py lock
