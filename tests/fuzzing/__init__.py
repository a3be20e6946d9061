"""What the tests of bad input share: malicious files, and the targets of coverage-guided fuzzing."""
