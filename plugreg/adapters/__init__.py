"""The plugin API in web frameworks, each in a module of its own; none is imported here."""
