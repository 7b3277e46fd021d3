"""Many runs: how long they take, in which processes."""
