"""Replaces the credentials of clusters."""
