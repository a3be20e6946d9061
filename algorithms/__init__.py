"""Solvers: one algorithm, one file. One line in TABLE makes a solver known everywhere."""

if __name__ != "gamesim.algorithms":
    raise ImportError("this folder is the package gamesim.algorithms: write `from gamesim.algorithms import ...`")

from gamesim.catalog import lazily

TABLE = {
    "gmfg-ppo": ("gamesim.algorithms.gmfg_ppo:GMFGPPO", "proximal policy optimisation in an averaged mean field"),
    "policy-mirror-descent": (
        "gamesim.algorithms.policy_mirror_descent:PolicyMirrorDescent",
        "regularised mirror descent, for monotone games (any game)",
    ),
    "online-mirror-descent": (
        "gamesim.algorithms.online_mirror_descent:OnlineMirrorDescent",
        "mirror descent on accumulated action values (any game)",
    ),
    "fictitious-play": ("gamesim.algorithms.fictitious_play:FictitiousPlay", "best responses to the average so far"),
    "ftrl": (
        "gamesim.algorithms.ftrl:FTRL",
        "follow the regularised leader: four mirror maps, any feedback (any game)",
    ),
    "replicator": ("gamesim.algorithms.replicator:Replicator", "replicator dynamics in continuous time"),
    "best-response-dynamics": (
        "gamesim.algorithms.best_response_dynamics:BestResponseDynamics",
        "a share of everyone switches to a best reply; logit dynamics with a temperature",
    ),
    "fixed-point": ("gamesim.algorithms.fixed_point:FixedPoint", "greedy or Boltzmann response to the last flow"),
}

__getattr__, __all__ = lazily(__name__, TABLE)
