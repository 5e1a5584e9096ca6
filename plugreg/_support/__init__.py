"""What every other package uses: names, guards, redaction, processes."""
