"""Sequences of tokens: small decoders, how they are trained, saved and sampled, and what they read."""
