"""Tests of a release on fresh Debian systems: run by `make release-test`, which takes minutes."""
