from collections import Counter


def count(text, stop, least):
    words = (word.lower() for word in text.split())
    return dict(Counter(word for word in words if len(word) >= least and word not in stop))
