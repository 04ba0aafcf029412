"""Drivers: one folder a type of target. They know `core` and nothing else; `wiring` hands them what they need."""
