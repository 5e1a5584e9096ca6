"""Calling plugins: isolated, with circuits, observers and time limits."""
