"""The scale of offline-spread that needs a GPU, made tiny: all solvers and networks, several numbers of agents."""

from gamesim.experiments import offline_spread
from gamesim.experiments.offline_spread import BASELINES, OURS, Effort, OfflineSpread


def test_every_solver_network_and_number_of_agents_is_judged(monkeypatch) -> None:
    networks = {
        "set-transformer": "set-transformer(width=4, heads=2, blocks=1)",
        "gcn": "gcn(width=4)",
        "mlp": "mlp(width=4)",
    }
    tiny = Effort((2, 3), 4, 1e-3, 2, 4, 4, networks, BASELINES + OURS, 2)
    monkeypatch.setattr(offline_spread, "effort_of", lambda scale: tiny)
    monkeypatch.setattr(offline_spread, "networks_of", lambda solver, effort: tuple(networks))
    said = list[str]()
    study = OfflineSpread().run("full", said.append)
    runs = {(row["agents"], row["solver"], row["network"]) for row in study.data}
    assert runs == {(n, s, k) for n in (2, 3) for s in BASELINES + OURS for k in networks}
    ids = {claim.id for claim in study.claims}
    assert {"lead-grows", "cql-imitation-3", "atac-relations-2", "model-based-pessimism-relations-3"} <= ids
    along, against = study.charts[0].panels
    assert len(along.curves) == len(BASELINES + OURS)
    assert all(list(curve.x) == [2, 3] for curve in against.curves)
    assert len(said) == 2 + len(runs)
