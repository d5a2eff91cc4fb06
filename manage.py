#!/usr/bin/env python
"""Django's command line, beside a running portal or on its own."""

import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed here. Run `make run` once, then `.venv/bin/python manage.py …`.")
    execute_from_command_line(sys.argv)
