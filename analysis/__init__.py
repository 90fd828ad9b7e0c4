"""What came out: tables, ranking and fronts, out of an experiment's records alone."""
