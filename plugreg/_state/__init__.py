"""What is stored of plugins and processes, and what went wrong in this one."""
