"""Figures in Chinese are grouped as the browser groups them there; Django would not group them at all."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
