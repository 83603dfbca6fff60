"""Backups of a database, and their restoration: `make backup` and `make restore`."""
