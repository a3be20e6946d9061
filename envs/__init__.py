"""Environments: concrete games, in folders by family. One line in TABLE makes a game known everywhere."""

if __name__ != "gamesim.envs":
    raise ImportError("this folder is the package gamesim.envs: write `from gamesim.envs import ...`")

from gamesim.catalog import lazily

TABLE = {
    "graphon/sis": ("gamesim.envs.graphon.sis:SIS", "epidemic: go out and risk infection, or stay in"),
    "graphon/beach": ("gamesim.envs.graphon.beach:Beach", "crowded beach: stand near the bar but away from the crowd"),
    "graphon/investment": ("gamesim.envs.graphon.investment:Investment", "firms invest in quality against competitors"),
    "graphon/cyber": ("gamesim.envs.graphon.cyber:Cyber", "defend a computer against malware, or save the cost"),
    "graphon/heterogeneous-cyber": (
        "gamesim.envs.graphon.heterogeneous_cyber:HeterogeneousCyber",
        "malware among private and corporate computers",
    ),
    "graphon/fitted": ("gamesim.estimation.fitted:FittedGame", "learned from sampled agents: -g data=FILE"),
    "mean-field/beach-bar": ("gamesim.envs.mean_field.beach_bar:BeachBar", "be near the bar and away from the crowd"),
    "mean-field/linear-quadratic": (
        "gamesim.envs.mean_field.linear_quadratic:LinearQuadratic",
        "steer towards the mean of the population at a quadratic cost",
    ),
    "mean-field/susceptible-infected": (
        "gamesim.envs.mean_field.susceptible_infected:SusceptibleInfected",
        "epidemic in which everyone meets everyone",
    ),
    "mean-field/left-right": ("gamesim.envs.mean_field.left_right:LeftRight", "choose the less crowded of two sides"),
    "mean-field/rock-paper-scissors": (
        "gamesim.envs.mean_field.rock_paper_scissors:RockPaperScissors",
        "pick a hand against the crowd; not monotone",
    ),
    "mean-field/crowd-modelling": (
        "gamesim.envs.mean_field.crowd_modelling:CrowdModelling",
        "walk on a grid away from the crowd: open, or four rooms",
    ),
}

__getattr__, __all__ = lazily(__name__, TABLE)
