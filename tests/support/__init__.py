"""What several tests use: warehouses, oracles, exports, a server that imitates Pipedrive."""
