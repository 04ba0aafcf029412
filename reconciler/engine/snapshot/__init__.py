"""Observations that a daemon publishes, so that others can plan without access to anything.

`making` puts one together, `labels` takes out of it what nobody outside may know, `document` writes it as JSON and
reads it back, `signing` signs and checks it, `fetching` gets one from a file or an address, `reading` plans with it.
"""
