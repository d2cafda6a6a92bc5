"""Answers whether the controller works."""
