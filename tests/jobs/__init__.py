"""Flink jobs that tests and the demo run, as Java sources, and what builds them."""
