"""NumPy and Arrow arrays: types, conversion, encoding, sorting, batching; and settings of the process they live in."""
