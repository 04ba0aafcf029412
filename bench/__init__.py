"""Measurements beside peers in the same run; `python -m bench` prints the table."""
