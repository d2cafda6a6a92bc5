"""In-memory twins of the ports and the simulator. Not part of the deployed layer."""
