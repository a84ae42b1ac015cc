"""What several test modules need: writers of files, networks of random weights, and ways to run what is tested."""
