"""A store in one JSON file."""
