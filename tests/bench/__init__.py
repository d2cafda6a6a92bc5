"""How fast the controller is, beside the same work done by hand. `make bench` runs it."""
