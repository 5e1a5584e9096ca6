"""Helpers of all other packages: names, guards, redaction, processes."""
