# Each target is one line over lyceum.py, which also runs without make.
PYTHON ?= python3

.PHONY: run test check contract mutants bench lock

run:
	@$(PYTHON) lyceum.py run

test:
	@$(PYTHON) lyceum.py test $(ARGS)

check:
	@$(PYTHON) lyceum.py check

contract:
	@$(PYTHON) lyceum.py contract $(ARGS)

mutants:
	@$(PYTHON) lyceum.py mutants $(ARGS)

bench:
	@$(PYTHON) lyceum.py bench $(SECTION) $(ARGS)

lock:
	@$(PYTHON) lyceum.py lock
