"""Exit codes of the programs, and what they mean."""

# A restart would not help: the settings are wrong.
EXIT_UNRECOVERABLE = 2

# Of commands that run until they are told to stop.
SERVING = {
    0: "told to stop (Ctrl-C, SIGTERM)",
    1: "failed; a restart may help",
    EXIT_UNRECOVERABLE: "a restart will not help: a bad setting, an address in use, a ledger that"
    " another core holds, a package that is not installed",
    130: "Ctrl-C before startup (the signal ended it, as shells show)",
}
# Of commands that ask a core.
ASKING = {
    0: "answered; `watch`, `show --follow`: Ctrl-C",
    1: "no such session, or no answer",
    EXIT_UNRECOVERABLE: "a bad setting, a package that is not installed",
    130: "Ctrl-C",
}
