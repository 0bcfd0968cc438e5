"""The demonstration: real questions of an installed package, replayed through the real parts."""
