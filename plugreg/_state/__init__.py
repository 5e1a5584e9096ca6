"""Stored rows of plugins and processes, and the failures of this process."""
