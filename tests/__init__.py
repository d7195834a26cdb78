"""The tests; a package, since a package of another name in the environment calls itself so too."""
