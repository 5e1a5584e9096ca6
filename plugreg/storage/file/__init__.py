"""A store in a JSON file."""
