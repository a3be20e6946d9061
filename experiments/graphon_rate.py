"""graphon-rate: GMFG-PPO with the theory's step sizes converges at least like T^(-1/3).

Zhang, Tan, Wang and Yang, "Learning regularized graphon mean-field games with unknown graphons", arXiv 2310.17531: with
averaging T^(-2/3), mixing 1/T and a constant step size, under a contraction condition,

    D(mean_t pi_t, pi*) + d(mean_t mubar_t, mu*) = O~(T^(-1/3)),

where Xie et al. (ICML 2021) had T^(-1/5). One run for each T, on SIS with reward scale 5, exp graphon, lam = 1.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gamesim.algorithms import GMFGPPO
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS
from gamesim.experiments.distances import flow_distance, policy_distance
from gamesim.graphons import Exponential
from gamesim.loop import solve
from gamesim.schedules import Constant
from gamesim.study import Claim, Scale, Study, at_most, fit_slope

LENGTHS = [64, 128, 256, 512, 1024, 2048, 4096]
Variant = Literal["self-consistent", "frozen"]


@dataclass(frozen=True)
class GraphonRate:
    """One run for each horizon T, averaging T^(-2/3), mixing 1/T: the theory's metric, exploitability beside it."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        game = SIS(positions=21 if scale == "quick" else 101, graphon=Exponential(3.0), reward_scale=5.0)
        exact = solve(game, GMFGPPO(Constant(1.0), 1.0, Constant(0.3)), iterations=400, every=400)
        best, best_flow = exact.policy, game.flow(exact.policy)
        claims, rows = list[Claim](), list[dict[str, object]]()
        metric_curves, gap_curves = list[Curve](), list[Curve]()
        variants: tuple[Variant, ...] = ("self-consistent", "frozen")
        for variant in variants:
            metrics, gaps, lasts = [], [], []
            for T in LENGTHS:
                solver = GMFGPPO(Constant(0.3), 1.0, Constant(T ** (-2 / 3)), variant, Constant(1 / T))
                result = solve(game, solver, iterations=T, every=T, average=True)
                D = policy_distance(game, best, result.policy, best_flow)
                d = flow_distance(game, result.state.flow[0], best_flow)
                metrics.append(float(D + d))
                gaps.append(float(result.regularized_exploitability[0, -1]))
                lasts.append(float(game.exploitability(result.state.inner.policy, 1.0)))
                rows.append(
                    {
                        "variant": variant,
                        "T": T,
                        "policy_distance": float(D),
                        "flow_distance": float(d),
                        "exploitability_of_mean": gaps[-1],
                        "exploitability_of_last": lasts[-1],
                    }
                )
                say(f"  {variant}, T = {T}: D + d = {metrics[-1]:.4g}, gap {gaps[-1]:.3g}, last {lasts[-1]:.3g}")
            fit = fit_slope(LENGTHS, metrics)
            statement = f"{variant} averaging: D + d falls at least like T^(-1/3) for T = {LENGTHS[0]}..{LENGTHS[-1]}"
            claims.append(at_most(f"rate-{variant}", statement, fit.value, -1 / 3, fit.interval))
            metric_curves.append(Curve(f"{variant}: slope {fit.value:.2f}", LENGTHS, metrics, dots=True))
            gap_curves.append(Curve(f"{variant}, mean of iterates", LENGTHS, gaps, dots=True))
            gap_curves.append(Curve(f"{variant}, last iterate", LENGTHS, lasts, dots=True, dashed=True))
        panels = [
            Panel(
                "The theory's distance",
                "T",
                "D + d",
                metric_curves,
                log_x=True,
                theory={"T^(-1/3)": -1 / 3, "T^(-1/5), Xie et al.": -1 / 5},
            ),
            Panel("Exploitability beside it", "T", "regularized exploitability", gap_curves, log_x=True),
        ]
        left = float(exact.regularized_exploitability[0, -1])
        notes = (
            f"The equilibrium was computed to a regularized exploitability of {left:.1e}. The interval joins the "
            "regression's 95% and the slopes of every window of at least four T."
        )
        return Study(claims, [Chart("rate", panels)], rows, notes)
