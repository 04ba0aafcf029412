"""Signing in to Azure, and what its services refuse in the contract's words. Knows only `core`."""
