"""The groups of cases, in the order in which they are run and shown."""

GROUPS = {
    "discovery": "Finding plugins",
    "start": "From the import to the first answer",
    "imports": "Importing, in a host that has the usual modules loaded",
    "loading": "Loading plugins",
    "hooks": "Taking in a plugin's hooks",
    "calling": "Calling hooks",
    "lookups": "Looking plugins up",
    "settings": "Reading and writing settings",
    "lists": "A page of 50 out of a list",
    "page": "The table of the page for operators",
    "activation": "Switching one plugin on",
    "isolation": "Isolated plugins",
    "readers": "Readers with a writer beside them",
    "memory": "Memory",
    "counts": "What is counted: file-system calls and imports",
}
