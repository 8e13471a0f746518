"""Likelihoods p(x | h), one a file."""
