"""Helpers of several tests: warehouses, oracles, exports, a server that imitates Pipedrive."""
