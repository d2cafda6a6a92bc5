"""Wakes every minute, for the fleet."""
