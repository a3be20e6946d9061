"""Certificates: is a game weakly monotone, does its best response contract, are its equilibria stable under learning.

    weak monotonicity   int sum (rho - rho')(r_h(., z(mu)) - r_h(., z(mu'))) dk <= 0     by eigenvalues, or by search
    contraction         of Lambda = flow of (best response to a flow)                    lower bounds of its constant
    stability           runs that begin near an equilibrium of a normal-form game: how many stay and come back
    second order        of a policy of a stochastic game: strict, Nash but not second-order stationary, or not Nash
    step sizes          of the smallest spectral radius for the eigenvalues of Lambda's derivative, and tried

Each answer says how it is known: a proof up to rounding, a counterexample, or an estimate. They are about the game on
its grid.

Zhang, Tan, Wang and Yang, arXiv 2310.08089 (weak monotonicity, policy mirror descent) and 2310.17531 (contraction,
GMFG-PPO).
"""

from gamesim.certificates.certificate import Certificate, certify
from gamesim.certificates.contraction import Contraction
from gamesim.certificates.interaction import violation
from gamesim.certificates.monotonicity import Monotonicity, Witness
from gamesim.certificates.policy_certificate import PolicyCertificate
from gamesim.certificates.probabilities import Probability
from gamesim.certificates.proposals import Proposal, Tuning
from gamesim.certificates.second_order import certify_policies, certify_policy
from gamesim.certificates.stability import Stability, certify_equilibrium

__all__ = [
    "Certificate",
    "Contraction",
    "Monotonicity",
    "PolicyCertificate",
    "Probability",
    "Proposal",
    "Stability",
    "Tuning",
    "Witness",
    "certify",
    "certify_equilibrium",
    "certify_policies",
    "certify_policy",
    "violation",
]
