"""The commands, by theme. Each module is imported when one of its commands runs."""
