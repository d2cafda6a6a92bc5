"""The same application on a laptop: an AWS emulator and a real Flink, without Docker and without an account.

`python -m infra.local up` starts it; tests use its parts as a library (`FlinkCluster`, `LocalAws`). Nothing here is
imported by a function, and nothing here decides anything about jobs.
"""
