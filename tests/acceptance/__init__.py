"""Acceptance."""
