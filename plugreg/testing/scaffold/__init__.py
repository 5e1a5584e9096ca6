"""New plugins: a project for a host, made from its contract, and updated by making it again."""
