"""Plans, reports and problems as text, JSON and Markdown: readers of `core` values and nothing else.

The same value always gives the same bytes. No view shows the text of a secret, whatever it is given.
"""
