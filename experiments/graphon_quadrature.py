"""graphon-quadrature: how many positions does a graphon game need?

Public code uses end points with equal weights, whose error is O(1/k); midpoints are O(1/k^2), Gauss-Legendre is
spectral for smooth graphons, and one position per block is exact for step graphons. Measured on
the value of the uniform policy, against 200,000 midpoints, or 400 Gauss-Legendre points where the graphon is smooth
(structured operators make that cheap). The game is SIS of Cui and Koeppl, ICLR 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass

from gamesim.charts import Chart, Curve, Panel
from gamesim.envs import SIS
from gamesim.graphons import Exponential, Graphon, Rule, StochasticBlock, UniformAttachment
from gamesim.study import Claim, Scale, Study, at_least, at_most, fit_slope

GRAPHONS: dict[str, Graphon] = {"uniform attachment": UniformAttachment(), "exp": Exponential(3.0)}
SIZES = [11, 21, 41, 81, 161, 321, 641]
RULES: tuple[Rule, ...] = ("endpoint", "midpoint", "gauss-legendre")
HORIZON = 50


def value_of_uniform(graphon: Graphon, rule: Rule, positions: int | None) -> float:
    """J of the uniform policy, mean over positions."""
    game = SIS(graphon=graphon, quadrature=rule, positions=positions, horizon=HORIZON)
    policy = game.start()
    return float(game.mean(game.returns(policy, game.flow(policy))))


@dataclass(frozen=True)
class GraphonQuadrature:
    """Error of the value of the uniform policy against the number of positions."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        fine = 20_000 if scale == "quick" else 200_000
        claims, rows, panels = list[Claim](), list[dict[str, object]](), list[Panel]()
        for label, graphon in GRAPHONS.items():
            smooth = graphon.smooth
            exact = value_of_uniform(graphon, "gauss-legendre" if smooth else "midpoint", 400 if smooth else fine)
            errors = dict[Rule, list[float]]()
            for rule in RULES:
                errors[rule] = [abs(value_of_uniform(graphon, rule, k) - exact) for k in SIZES]
                rows += [
                    {"graphon": label, "rule": rule, "positions": k, "error": e}
                    for k, e in zip(SIZES, errors[rule], strict=True)
                ]
                say(f"  {label}, {rule}: " + ", ".join(f"{e:.1e}" for e in errors[rule]))
            order = fit_slope(SIZES, errors["midpoint"])
            statement = f"{label}: midpoints have order at least 1.9"
            claims.append(
                at_most(f"midpoint-order-{label.replace(' ', '-')}", statement, order.value, -1.9, order.interval)
            )
            curves = [Curve(rule, SIZES, errors[rule], dots=True) for rule in RULES]
            panels.append(
                Panel(f"SIS, {label}", "positions", "error of the uniform policy's value", curves, log_x=True)
            )
            if label == "uniform attachment":
                order = fit_slope(SIZES, errors["endpoint"])
                claims.append(
                    at_least(
                        "endpoint-order",
                        f"{label}: end points have order at most 1.1",
                        order.value,
                        -1.1,
                        order.interval,
                    )
                )
                ratio = errors["midpoint"][SIZES.index(21)] / abs(value_of_uniform(graphon, "endpoint", 201) - exact)
                claims.append(
                    at_most(
                        "midpoint-21", f"{label}: 21 midpoints beat 201 end points (error ratio below 1)", ratio, 1.0
                    )
                )
        spectral = abs(
            value_of_uniform(GRAPHONS["exp"], "gauss-legendre", 11)
            - value_of_uniform(GRAPHONS["exp"], "gauss-legendre", 200)
        )
        claims.append(at_most("gauss-spectral", "exp: 11 Gauss-Legendre points agree with 200 to 1e-8", spectral, 1e-8))
        blocks = StochasticBlock(0.9, 0.3, 0.7)
        exact_blocks = abs(value_of_uniform(blocks, "block", None) - value_of_uniform(blocks, "midpoint", 10 * fine))
        claims.append(
            at_most(
                "block-exact", f"blocks: 2 positions agree with {10 * fine} midpoints to 1e-10", exact_blocks, 1e-10
            )
        )
        return Study(claims, [Chart("quadrature", panels)], rows)
