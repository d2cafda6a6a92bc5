"""Wakes on an upload."""
