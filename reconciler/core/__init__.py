"""The pure heart: what resources are, how they differ, what to do about it.

Nothing in this package reads a clock, a file, a socket or an SDK; everything is values in, values out.
"""
