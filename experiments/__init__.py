"""Experiments: a file for each figure or claim. A line in TABLE makes it known to `gamesim reproduce`."""

if __name__ != "gamesim.experiments":
    raise ImportError("this folder is the package gamesim.experiments: write `gamesim reproduce NAME`")

from gamesim.catalog import lazily

TABLE = {
    "banditspec-regret": (
        "gamesim.experiments.banditspec_regret:BanditspecRegret",
        "regret in rounds of UCBSpec, EXP3Spec, Hedge and chance in speculative decoding",
    ),
    "ftrl-rates": (
        "gamesim.experiments.ftrl_rates:FTRLRates",
        "rates of FTRL at strict equilibria: geometric, finite, S^-2, 1/S, whatever the feedback",
    ),
    "ftrl-strict-stability": (
        "gamesim.experiments.ftrl_strict_stability:FTRLStrictStability",
        "an equilibrium is stable and attracting under FTRL exactly if it is strict",
    ),
    "graphon-finite-population": (
        "gamesim.experiments.graphon_finite_population:GraphonFinitePopulation",
        "an equilibrium of the continuum among N agents: value gap and gain of a deviation, dense and sparse",
    ),
    "graphon-estimation-rate": (
        "gamesim.experiments.graphon_estimation_rate:GraphonEstimationRate",
        "error of a learned graphon against agents and episodes, positions known, random and unknown",
    ),
    "graphon-monotone": (
        "gamesim.experiments.graphon_monotone:GraphonMonotone",
        "mirror descent on monotone games: linear convergence, and the rate of the averaged policy",
    ),
    "graphon-quadrature": (
        "gamesim.experiments.graphon_quadrature:GraphonQuadrature",
        "error against the number of positions, rule by rule",
    ),
    "graphon-rate": (
        "gamesim.experiments.graphon_rate:GraphonRate",
        "GMFG-PPO with the theory's step sizes: at least T^(-1/3)",
    ),
    "graphon-real-network": (
        "gamesim.experiments.graphon_real_network:GraphonRealNetwork",
        "an epidemic game on real networks, and what a coarse model of the network costs",
    ),
    "graphon-sampled-values": (
        "gamesim.experiments.graphon_sampled_values:GraphonSampledValues",
        "mirror descent on values estimated from play: exploitability against episodes and positions",
    ),
    "graphon-unknown": (
        "gamesim.experiments.graphon_unknown:GraphonUnknown",
        "the equilibrium of a game learned from sampled agents, against constant graphons",
    ),
    "last-iterate": (
        "gamesim.experiments.last_iterate:LastIterate",
        "zero-sum games: plain FTRL against optimistic and extra-gradient, last iterates and averages, with errors",
    ),
    "sparse-bandit-regret": (
        "gamesim.experiments.sparse_bandit_regret:SparseBanditRegret",
        "rewards of a few earlier choices: regret like a root of T",
    ),
    "vi-bias-richardson": (
        "gamesim.experiments.vi_bias_richardson:VIBiasRichardson",
        "constant steps: bias linear in the step, extrapolation takes it out",
    ),
    "pg-rate": (
        "gamesim.experiments.pg_rate:PGRate",
        "policy gradient near strict policies: squared distance falls at least like n^-q, exact and sampled",
    ),
    "pg-finite-time": (
        "gamesim.experiments.pg_finite_time:PGFiniteTime",
        "lazy policy gradient reaches strict equilibria exactly, in finitely many iterations; eager does not",
    ),
    "pg-sos-attraction": (
        "gamesim.experiments.pg_sos_attraction:PGSOSAttraction",
        "policy gradient stays at strict policies and leaves other equilibria; basins from random starts",
    ),
    "pg-sos-is-strict": (
        "gamesim.experiments.pg_sos_is_strict:PgSosIsStrict",
        "second-order stationary policies are the strict ones that visit every state: a search that tries to refute it",
    ),
    "soccer": (
        "gamesim.experiments.soccer:SoccerStudy",
        "who learns to play soccer: Nash-Q, independent Q and gradients against the exact value",
    ),
    "relational-critic": (
        "gamesim.experiments.relational_critic:RelationalCritic",
        "what a critic of a team learns first, against the number of agents, for four networks",
    ),
    "offline-spread": (
        "gamesim.experiments.offline_spread:OfflineSpread",
        "who learns cooperative navigation from recorded play, against the number of agents",
    ),
    "suboptimality-in-n": (
        "gamesim.experiments.suboptimality_in_n:SuboptimalityInN",
        "gaps of pessimistic offline learning against the number of agents, exactly",
    ),
    "n-free-lipschitz": (
        "gamesim.experiments.n_free_lipschitz:NFreeLipschitz",
        "how far a set transformer moves with its weights, whatever the number of agents",
    ),
    "attention-sink-in-sets": (
        "gamesim.experiments.attention_sink_in_sets:AttentionSinkInSets",
        "where attention goes when it has nowhere to go: softmax, a sink slot and sigmoid during training",
    ),
    "linear-attention-risk": (
        "gamesim.experiments.linear_attention_risk:LinearAttentionRisk",
        "linear attention that is trained reaches the least risk, in closed form",
    ),
    "bail-needle": (
        "gamesim.experiments.bail_needle:BailNeedle",
        "naive planning is linear where latents grow with time, exploring has an exponent of 1/2",
    ),
    "bail-fixed-latents": (
        "gamesim.experiments.bail_fixed_latents:BailFixedLatents",
        "with a fixed number of latents naive planning saturates: the honest negative",
    ),
    "bail-decoding": (
        "gamesim.experiments.bail_decoding:BailDecoding",
        "greedy, tempered and top-p decoding of the exact mixture: what cuts the truth costs linear regret",
    ),
    "bail-delusion": (
        "gamesim.experiments.bail_delusion:BailDelusion",
        "a planner that takes its own words for evidence never recovers",
    ),
    "bail-window": (
        "gamesim.experiments.bail_window:BailWindow",
        "a prompt that forgets: linear regret until the window holds enough",
    ),
    "bail-pretraining-error": (
        "gamesim.experiments.bail_pretraining_error:BailPretrainingError",
        "what is wrong with a model's training is a slope of regret",
    ),
    "bail-grid": (
        "gamesim.experiments.bail_grid:BailGrid",
        "planner, Actor and Reporter on a grid, exact and learned",
    ),
    "bail-opponents": (
        "gamesim.experiments.bail_opponents:BailOpponents",
        "repeated prisoner's dilemma against opponents of unknown type",
    ),
    "bail-transformer": (
        "gamesim.experiments.bail_transformer:BailTransformer",
        "a small transformer, pretrained, is the exact Bayes mixture; of demonstrations alone it is deluded",
    ),
    "bail-world-model": (
        "gamesim.experiments.bail_world_model:BailWorldModel",
        "planning in the mixture of worlds needs exploration even for two latents",
    ),
    "bail-many-actors": (
        "gamesim.experiments.bail_many_actors:BailManyActors",
        "K actors asked one by one: regret grows like the root of K",
    ),
    "icl-bma": (
        "gamesim.experiments.icl_bma:IclBma",
        "in-context learning as Bayesian model averaging: log |Z| nats, and no more",
    ),
    "cot-error": (
        "gamesim.experiments.cot_error:CotError",
        "chains of thought against outcomes only: errors fall exponentially, with chains faster",
    ),
    "superposition": (
        "gamesim.experiments.superposition:Superposition",
        "mixed prompts: a point mass, or proportions?",
    ),
    "speculative-transformer": (
        "gamesim.experiments.speculative_transformer:SpeculativeTransformer",
        "speculative decoding of our own transformer, its drafts chosen by bandits",
    ),
    "vi-clt": (
        "gamesim.experiments.vi_clt:VIClt",
        "averages of constant-step methods: variance, normality, coverage",
    ),
}

__getattr__, __all__ = lazily(__name__, TABLE)
