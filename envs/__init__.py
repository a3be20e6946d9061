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
    "matrix/prisoners-dilemma": (
        "gamesim.envs.matrix.classics:PrisonersDilemma",
        "defecting is better whatever the other does, and both would rather cooperate",
    ),
    "matrix/battle-of-the-sexes": (
        "gamesim.envs.matrix.classics:BattleOfTheSexes",
        "together is better than apart, but where",
    ),
    "matrix/chicken": ("gamesim.envs.matrix.classics:Chicken", "swerve and lose face, or dare and risk the crash"),
    "matrix/stag-hunt": ("gamesim.envs.matrix.classics:StagHunt", "a stag takes both hunters, a hare only one"),
    "matrix/matching-pennies": (
        "gamesim.envs.matrix.classics:MatchingPennies",
        "one wants to match, the other to differ; zero-sum",
    ),
    "matrix/rock-paper-scissors": (
        "gamesim.envs.matrix.classics:Roshambo",
        "each action beats half of the others: 3, 5, ... hands",
    ),
    "matrix/coordination": ("gamesim.envs.matrix.classics:Coordination", "everyone wants to do what all others do"),
    "matrix/shapley": ("gamesim.envs.matrix.classics:Shapley", "where fictitious play circles for ever"),
    "matrix/jordan": ("gamesim.envs.matrix.classics:Jordan", "matching pennies of three players"),
    "matrix/travelers-dilemma": (
        "gamesim.envs.matrix.dilemmas:TravelersDilemma",
        "the lower of two claims is paid, with a bonus to who made it",
    ),
    "matrix/centipede": (
        "gamesim.envs.matrix.dilemmas:Centipede",
        "take the larger pile or pass it on, in reduced normal form",
    ),
    "matrix/minimum-effort": (
        "gamesim.envs.matrix.dilemmas:MinimumEffort",
        "the weakest link: the least effort decides",
    ),
    "matrix/public-goods": ("gamesim.envs.matrix.dilemmas:PublicGoods", "contributions grow and are shared"),
    "matrix/volunteers-dilemma": ("gamesim.envs.matrix.dilemmas:VolunteersDilemma", "one volunteer serves everybody"),
    "matrix/dispersion": ("gamesim.envs.matrix.dilemmas:Dispersion", "everybody wants to be alone"),
    "matrix/cournot": ("gamesim.envs.matrix.contests:Cournot", "firms choose quantities"),
    "matrix/bertrand": ("gamesim.envs.matrix.contests:Bertrand", "firms choose prices, and the cheapest sell"),
    "matrix/location": ("gamesim.envs.matrix.contests:Location", "vendors choose a place on a street"),
    "matrix/war-of-attrition": (
        "gamesim.envs.matrix.contests:WarOfAttrition",
        "who waits longer has the prize, and waiting costs both",
    ),
    "matrix/grab-the-dollar": (
        "gamesim.envs.matrix.contests:GrabTheDollar",
        "who grabs first has it, but it tears where both do",
    ),
    "matrix/guess-two-thirds": ("gamesim.envs.matrix.contests:GuessTwoThirds", "guess two thirds of the average"),
    "matrix/majority-voting": (
        "gamesim.envs.matrix.families:MajorityVoting",
        "most votes win; voters like candidates at random",
    ),
    "matrix/random": ("gamesim.envs.matrix.families:RandomGame", "every payoff drawn on its own"),
    "matrix/zero-sum": (
        "gamesim.envs.matrix.families:RandomZeroSum",
        "random, two players, what one wins the other loses",
    ),
    "matrix/common-interest": (
        "gamesim.envs.matrix.families:CommonInterest",
        "random, all players have the same payoffs",
    ),
    "matrix/potential": ("gamesim.envs.matrix.families:RandomPotential", "random exact potential game"),
    "matrix/covariant": ("gamesim.envs.matrix.families:Covariant", "random, with one correlation between players"),
    "matrix/random-coordination": (
        "gamesim.envs.matrix.families:RandomCoordination",
        "random, but choosing the same beats anything else",
    ),
    "matrix/dominance-solvable": (
        "gamesim.envs.matrix.constructed:DominanceSolvable",
        "random, and iterated strict dominance leaves one profile",
    ),
    "matrix/cyclic": ("gamesim.envs.matrix.constructed:Cyclic", "random, best replies go round: no pure equilibrium"),
    "matrix/polymatrix": (
        "gamesim.envs.matrix.many:RandomPolymatrix",
        "many players, each in two-player games with neighbours",
    ),
    "matrix/congestion": (
        "gamesim.envs.matrix.many:ParallelLinks",
        "many players choose links that slow down under load",
    ),
    "matrix/braess": ("gamesim.envs.matrix.many:Braess", "a new road makes everybody slower"),
    "matrix/symmetric": ("gamesim.envs.matrix.many:RandomSymmetric", "many anonymous players, random payoffs"),
    "matrix/el-farol": ("gamesim.envs.matrix.many:ElFarol", "a bar that is fun unless too many come"),
    "matrix/file": ("gamesim.envs.matrix.file:FileGame", "a .nfg, .gam or .efg file: -g file=PATH, or the path itself"),
    "bandits/bernoulli": ("gamesim.envs.bandits.bernoulli:Bernoulli", "arms that pay 1 or nothing"),
    "bandits/speculative-decoding": (
        "gamesim.envs.bandits.speculative_decoding:SpeculativeDecoding",
        "choose drafts by accepted tokens; stationary or changing",
    ),
    "bandits/acceptance-log": (
        "gamesim.envs.bandits.acceptance_log:AcceptanceLog",
        "accepted tokens replayed from a file: -g data=FILE",
    ),
    "bandits/long-horizon": (
        "gamesim.envs.bandits.long_horizon:LongHorizon",
        "contexts whose choice pays at a few later times",
    ),
    "stochastic/two-state": (
        "gamesim.envs.stochastic.two_state:TwoState",
        "the first action pays more whatever happens; half of all steps are the last: a strict equilibrium",
    ),
    "stochastic/random": ("gamesim.envs.stochastic.families:RandomStochastic", "rewards and transitions at random"),
    "stochastic/zero-sum": (
        "gamesim.envs.stochastic.families:ZeroSumStochastic",
        "two players, what one wins the other loses",
    ),
    "stochastic/team": ("gamesim.envs.stochastic.families:Team", "everyone is paid the same"),
    "stochastic/potential": ("gamesim.envs.stochastic.families:PotentialStochastic", "a Markov potential game"),
    "stochastic/constructed": (
        "gamesim.envs.stochastic.constructed:Constructed",
        "a random game with an equilibrium built in: strict, interior, and kinds between",
    ),
    "stochastic/soccer": (
        "gamesim.envs.stochastic.soccer:Soccer",
        "Littman's soccer: two players, a ball, two goals; zero-sum",
    ),
    "stochastic/grid-coordination": (
        "gamesim.envs.stochastic.grids:GridCoordination",
        "walk to goals past one another, or find one another",
    ),
    "stochastic/congestion": (
        "gamesim.envs.stochastic.congestion:DistancingCongestion",
        "choose facilities; crowds bring everyone into a worse state",
    ),
    "stochastic/resource": ("gamesim.envs.stochastic.commons:Resource", "draw on a common pool that renews itself"),
    "stochastic/fishery": (
        "gamesim.envs.stochastic.commons:Fishery",
        "the great fish war: catch now, or leave fish to grow",
    ),
    "stochastic/climate": (
        "gamesim.envs.stochastic.climate:Climate",
        "emit or abate, and damages behind a tipping point",
    ),
    "stochastic/repeated": (
        "gamesim.envs.stochastic.repeated:Repeated",
        "any normal-form game again and again, with memory",
    ),
    "latent/needle": (
        "gamesim.envs.latent.needle:Needle",
        "one of n boxes may hold a prize, and a sign that no expert reads",
    ),
    "latent/trap": ("gamesim.envs.latent.trap:Trap", "safe or risky: greedy planners of two latents never find out"),
    "latent/grid": (
        "gamesim.envs.latent.grid:Grid",
        "a grid with boxes and a sign: an Actor that slips, a Reporter that errs",
    ),
    "latent/random": (
        "gamesim.envs.latent.random_hierarchy:RandomHierarchy",
        "random kernels that differ in a few places: where naive planners do well",
    ),
    "latent/lock": ("gamesim.envs.latent.lock:Lock", "a combination lock: hardly anything tells the latents apart"),
    "latent/opponents": (
        "gamesim.envs.latent.opponents:Opponents",
        "a repeated matrix game whose latent is the type of the opponent",
    ),
    "latent/many-actors": (
        "gamesim.envs.latent.many_actors:ManyActors",
        "K actors who must all open the right box, asked one by one",
    ),
    "sets/spread": (
        "gamesim.envs.sets.spread:Spread",
        "cooperative navigation: cover every landmark, do not collide; variant=mpe2, vmas, omar, ...",
    ),
    "sets/tag": ("gamesim.envs.sets.tag:Tag", "slow predators hunt fast prey among obstacles"),
    "sets/reference": ("gamesim.envs.sets.reference:Reference", "two agents tell each other where to go"),
    "sets/speaker-listener": ("gamesim.envs.sets.speaker_listener:SpeakerListener", "one knows the way, one walks"),
    "sets/tabular": (
        "gamesim.envs.sets.tabular:Tabular",
        "few exchangeable agents by counts, with data: exact offline problems",
    ),
    "sets/offline": (
        "gamesim.envs.sets.recorded:RecordedPlay",
        "recorded play of a world of sets, to learn from without playing: -g data=FILE",
    ),
    "simulator/gymnasium": (
        "gamesim.envs.wrappers.simulators:GymnasiumSimulator",
        "a registered environment of gymnasium with discrete spaces: -g environment=ID",
    ),
    "simulator/pettingzoo": (
        "gamesim.envs.wrappers.simulators:PettingZooSimulator",
        "a game of PettingZoo with discrete spaces: -g environment=MODULE",
    ),
    "variational/bilinear": (
        "gamesim.envs.variational.bilinear:Bilinear",
        "saddle x'Ay: gradients circle, extragradient arrives",
    ),
    "variational/quadratic": (
        "gamesim.envs.variational.quadratic:Quadratic",
        "strongly monotone quadratic saddle, random with a seed",
    ),
    "variational/softplus": (
        "gamesim.envs.variational.softplus:Softplus",
        "smooth saddle that is not quadratic: constant steps have a bias",
    ),
    "variational/rippled": (
        "gamesim.envs.variational.rippled:Rippled",
        "saddle with ripples: weakly quasi-strongly monotone only",
    ),
}
FILES = dict.fromkeys((".nfg", ".gam", ".efg"), "matrix/file")
"""Which game a file of that name is: `gamesim run path/to/game.nfg ftrl`."""

__getattr__, __all__ = lazily(__name__, TABLE)
