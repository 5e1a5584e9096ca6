"""The plugin API in web frameworks: one module each, none of which is imported here."""
