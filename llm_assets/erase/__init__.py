"""Erasing a user's data from every store of an installation, and saying what it had reached."""
