"""Wakes every minute, for overdue runs."""
