"""The kinds of document: what each may hold."""
