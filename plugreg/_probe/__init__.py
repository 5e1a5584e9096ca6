"""Looking at a plugin in a child process before it is switched on."""
