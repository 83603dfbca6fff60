"""The sample that ships with the project: six CSV files in seeds/, made by generate."""
