"""Exit codes of the programs."""

# Starting the program again would not help: its settings are wrong.
EXIT_UNRECOVERABLE = 2
