"""Bytes that no server would send, found by coverage; see `__main__`."""
