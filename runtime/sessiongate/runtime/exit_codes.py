"""Exit codes of the programs."""

# A restart would not help: the settings are wrong.
EXIT_UNRECOVERABLE = 2
