"""Wakes on a spec change or a follow-up."""
