"""What a solver is told about its actions: exact, noisy or sampled values, all of one shape, that of the policy.

A feedback is asked for the values of a policy, in its own flow or in another one when the family has flows. Solvers
hold one as a parameter, so that learning from worse information changes nothing in the algorithm.
"""

from gamesim.feedback.features import Features, Legendre, Tabular
from gamesim.feedback.fitted import Estimate
from gamesim.feedback.oracle import Exact, Feedback, Noisy, exact
from gamesim.feedback.play import Bandit, Playable, Realised, draw_actions
from gamesim.feedback.reinforce import Reinforce
from gamesim.feedback.sampled import Sampled

__all__ = [
    "Bandit",
    "Estimate",
    "Exact",
    "Features",
    "Feedback",
    "Legendre",
    "Noisy",
    "Playable",
    "Realised",
    "Reinforce",
    "Sampled",
    "Tabular",
    "draw_actions",
    "exact",
]
