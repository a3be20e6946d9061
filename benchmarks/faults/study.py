"""The sweep that is disturbed: twenty runs in six batches, with axes, seeds and sampled feedback."""

STUDY = """\
iterations = 60
seeds = 2
every = 5

[[runs]]
game = ["matrix/shapley", "matrix/chicken"]
solver = "ftrl"
s = { step_size = [0.05, 0.2], feedback = "bandit(power(0.5, 0.4))" }

[[runs]]
game = "graphon/sis"
solver = "gmfg-ppo"
iterations = 20
g = { positions = [3, 4], horizon = 3 }
s = { feedback = "noisy(0.1)" }

[[runs]]
game = ["bandits/bernoulli", "matrix/stag-hunt"]
solver = "online-mirror-descent"
seeds = 4
"""
RUNS = 20
