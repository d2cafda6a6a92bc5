"""Wakes every minute, for due runs."""
