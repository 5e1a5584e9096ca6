"""How plugins get from a source into service, and out of it again."""
