"""Solvers: one algorithm, one file. One line in TABLE makes a solver known everywhere."""

if __name__ != "gamesim.algorithms":
    raise ImportError("this folder is the package gamesim.algorithms: write `from gamesim.algorithms import ...`")

from gamesim.catalog import lazily

TABLE = {
    "bail": (
        "gamesim.algorithms.bail:BAIL",
        "a language-model planner, or the Bayes mixture of experts it stands for, with exploration in whole episodes",
    ),
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
    "policy-gradient": (
        "gamesim.algorithms.policy_gradient:PolicyGradient",
        "everyone follows their own gradient, lazy or projected, exact or REINFORCE (stochastic games, simulators)",
    ),
    "shapley-iteration": (
        "gamesim.algorithms.shapley_iteration:ShapleyIteration",
        "stage games of all states at once, by value or policy iteration (zero-sum stochastic games)",
    ),
    "independent-q-learning": (
        "gamesim.algorithms.independent_q_learning:IndependentQLearning",
        "everyone learns the values of their own actions (stochastic games, simulators)",
    ),
    "nash-q": (
        "gamesim.algorithms.nash_q:NashQ",
        "minimax-Q: values of joint actions, stage games solved (zero-sum stochastic games)",
    ),
    "independent-ppo": (
        "gamesim.algorithms.independent_ppo:IndependentPPO",
        "everyone a policy network, by proximal policy optimisation (stochastic games, simulators)",
    ),
    "gradient-descent-ascent": (
        "gamesim.algorithms.gradient_descent_ascent:GradientDescentAscent",
        "everyone follows their own gradient: SGDA (variational problems, normal-form games)",
    ),
    "extragradient": (
        "gamesim.algorithms.extragradient:Extragradient",
        "look ahead, then move: extragradient, past, reflected, optimistic",
    ),
    "ucb-spec": ("gamesim.algorithms.ucb_spec:UCBSpec", "optimism by a self-normalised bound (bandits)"),
    "exp3-spec": ("gamesim.algorithms.exp3_spec:EXP3Spec", "anytime exponential weights on estimated losses (bandits)"),
    "hedge-spec": ("gamesim.algorithms.hedge_spec:HedgeSpec", "exponential weights with all rewards seen (bandits)"),
    "ucb": ("gamesim.algorithms.ucb:UCB", "UCB1 (bandits)"),
    "exp3": ("gamesim.algorithms.exp3:EXP3", "exponential weights with exploration (bandits)"),
    "thompson": ("gamesim.algorithms.thompson:Thompson", "arms by means drawn from Beta beliefs (bandits)"),
    "bc": ("gamesim.algorithms.behaviour_cloning:BehaviourCloning", "do what the data do (recorded play)"),
    "atac": (
        "gamesim.algorithms.atac:ATAC",
        "an actor against critics as pessimistic as the data allow, model-free (recorded play)",
    ),
    "td3-bc": ("gamesim.algorithms.td3_bc:TD3BC", "follow the critic, stay close to the data (recorded play)"),
    "iql": (
        "gamesim.algorithms.implicit_q_learning:ImplicitQLearning",
        "imitate the better actions of the data (recorded play)",
    ),
    "cql": (
        "gamesim.algorithms.conservative_q_learning:ConservativeQLearning",
        "values of unseen joint actions pushed down (recorded play)",
    ),
    "ma-cql": (
        "gamesim.algorithms.conservative_q_learning:MultiAgentCQL",
        "values of unseen actions pushed down, one agent at a time (recorded play)",
    ),
    "omar": (
        "gamesim.algorithms.omar:OMAR",
        "conservative critics, and a search for better actions (recorded play)",
    ),
    "model-based-pessimism": (
        "gamesim.algorithms.model_based_pessimism:ModelBasedPessimism",
        "the best policy in the worst world that the data allow (recorded play)",
    ),
    "pspi": ("gamesim.algorithms.pspi:PSPI", "pessimistic soft policy iteration, exact on sets/tabular"),
    "bellman-consistent-pessimism": (
        "gamesim.algorithms.bellman_consistent_pessimism:BellmanConsistentPessimism",
        "the best worst value over version spaces, exact (sets/tabular)",
    ),
    "fixed-policy": ("gamesim.algorithms.fixed_policy:FixedPolicy", "never learns: all arms alike, or one (bandits)"),
    "sparse-bandit": ("gamesim.algorithms.sparse_bandit:SparseBandit", "finds the few lags at which choices pay"),
}

__getattr__, __all__ = lazily(__name__, TABLE)
