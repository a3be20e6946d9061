"""Offline problems in which everything can be computed: version spaces, worst models and gaps, by counts of agents."""
