"""Makes what is released: see docs/releasing.md."""
