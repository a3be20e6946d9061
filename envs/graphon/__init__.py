"""Graphon mean-field games of the papers, one file each."""
