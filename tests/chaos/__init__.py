"""Crashes on the real thing: the process killed at the n-th port call, against the emulator and a real Flink."""
