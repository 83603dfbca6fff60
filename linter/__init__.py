"""What the project says about its models, as rules that `sqlmesh lint` and every plan check."""
