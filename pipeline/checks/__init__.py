"""What is checked beyond the tests: results made again, known answers, faults, times."""
