"""Variational inequalities: saddle points of functions and other problems of monotone operators."""
