"""The full screen of ``sessiongate watch``."""
