"""The commands of `benchmarks`, a file for each group of them: parse, call, print."""
