"""Steps of episodes from arrays in any usual form: which belong together, and how each episode ended.

Without next observations the last step of an episode leads to a state that nobody wrote down, and is left out. An
episode that no flag ends was cut off (truncated): its last state has a future. `terminated` that is 0 everywhere says
so, too, but is worth a note, as is one that ends every episode after the same number of steps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamesim.errors import refuse

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Steps:
    """Steps one after another, episode by episode."""

    before: Array
    """[k, entity, d]."""
    after: Array
    """[k, entity, d]."""
    actions: Array
    """[k, n] or [k, n, size]."""
    rewards: Array
    """[k, n]."""
    episode: Array
    """[k], from 0 without gaps."""
    ends: Array
    """The last of its episode, bool [k]."""
    terminated: Array
    truncated: Array

    @classmethod
    def of(cls, arrays: Mapping[str, Array], called: Mapping[str, str], notes: list[str], steps: int | None) -> "Steps":
        """From episodes, [e, h, ...], or from transitions, [k, ...]."""
        seen, acts, ahead = arrays["observations"], arrays["actions"], arrays.get("next_observations")
        leading = seen.ndim - 2
        if leading not in (1, 2) or 0 in seen.shape:
            wanted = "[e, h, entity, d] of episodes, or [k, entity, d] of transitions, at least one of each"
            raise refuse(called["observations"], f"shape {list(seen.shape)}", wanted)
        if acts.ndim not in (leading + 1, leading + 2) or 0 in acts.shape:
            wanted = "[e, h, n] or [e, h, n, size]" if leading == 2 else "[k, n] or [k, n, size]"
            raise refuse(called["actions"], f"shape {list(acts.shape)}", f"{wanted}, at least one of each")
        shape = acts.shape[: leading + 1]
        longer = leading == 2 and ahead is None and seen.shape[:2] == (shape[0], shape[1] + 1)
        if longer:
            seen, ahead = seen[:, :-1], seen[:, 1:]
        if seen.shape[:leading] != shape[:-1]:
            more = f", or [{shape[0]}, {shape[1] + 1}, entity, d]" if leading == 2 else ""
            wanted = f"{[*shape[:-1]]} and [entity, d], as actions have{more}"
            raise refuse(called["observations"], f"shape {list(arrays['observations'].shape)}", wanted)
        if ahead is not None and ahead.shape != seen.shape:
            wanted = f"{list(seen.shape)}, as {called['observations']}"
            raise refuse(called["next_observations"], f"shape {list(ahead.shape)}", wanted)
        rewards = _rewards(arrays["rewards"], shape, called, notes)
        flags = {name: _flag(arrays, name, shape, called) for name in ("terminated", "truncated")}
        over = np.zeros(shape[:-1], dtype=bool)
        for flag in flags.values():
            over |= False if flag is None else flag
        if leading == 1:
            kept, over = np.ones(len(over), dtype=bool), _cut(over, flags, steps, notes)
        else:
            kept, over = _within(over, arrays, called, steps, notes)
        index = np.nonzero(kept)
        flat: dict[str, Array | None] = {
            "before": seen[index],
            "after": None if ahead is None else ahead[index],
            "actions": acts[index],
            "rewards": rewards[index],
            "over": over[index],
            **{name: None if flag is None else flag[index] for name, flag in flags.items()},
        }

        def where(k: int, later: int = 0) -> str:
            *first, last = (int(i[k]) for i in index)
            return str([*first, last + later])

        return cls._joined(flat, where, called, notes)

    @classmethod
    def _joined(
        cls, flat: dict[str, Any], where: Callable[..., str], called: Mapping[str, str], notes: list[str]
    ) -> "Steps":
        before, after, over = flat["before"], flat["after"], flat["over"]
        for name, array in (("observations", before), ("rewards", flat["rewards"]), ("actions", flat["actions"])):
            _require_finite(array, called[name], where)
        if after is not None and "next_observations" in called:
            _require_finite(after, called["next_observations"], where)
        elif after is not None:
            _require_finite(after, called["observations"], lambda k: where(k, 1))
        if after is None:
            kept = ~over
            notes.append(
                f"no next observations: the last step of each episode is left out ({over.sum()} of {len(over)})"
            )
            if not kept.any():
                raise refuse(
                    called["observations"], "episodes of one step", "next_observations: no step leads anywhere"
                )
            after = np.concatenate([before[1:], before[-1:]])[kept]
            over = np.append(over[1:], True)[kept]
            before, actions, rewards = before[kept], flat["actions"][kept], flat["rewards"][kept]
            flags = dict.fromkeys(("terminated", "truncated"))  # they stood at the steps that are left out
        else:
            unequal = (before[1:] != after[:-1]).reshape(len(before) - 1, -1).any(1) & ~over[:-1]
            if unequal.any():
                at = int(unequal.argmax())
                wanted = f"{called['observations']}{where(at + 1)}, in which the next step of the episode begins"
                found = f"another state ({int(unequal.sum())} of {len(unequal)} are)"
                raise refuse(f"{called['next_observations']}{where(at)}", found, wanted)
            actions, rewards = flat["actions"], flat["rewards"]
            flags = {name: flat[name] for name in ("terminated", "truncated")}
        episode = np.append(0, over[:-1].cumsum())
        done, cut = _ended(flags, over, called, notes)
        return cls(before, after, actions, rewards, episode, over, done, cut)


def told_flags(
    arrays: Mapping[str, Array], shape: tuple[int, ...], called: Mapping[str, str], ends: Array, notes: list[str]
) -> tuple[Array, Array]:
    """terminated and truncated of transitions [k] whose episodes end where `ends` says."""
    flags = {name: _flag(arrays, name, shape, called) for name in ("terminated", "truncated")}
    for name, flag in flags.items():
        if flag is not None and (flag & ~ends).any():
            raise refuse(f"{called[name]}[{int((flag & ~ends).argmax())}]", 1, "0: the episode goes on after it")
    return _ended(flags, ends, called, notes)


def _within(
    over: Array, arrays: Mapping[str, Array], called: Mapping[str, str], steps: int | None, notes: list[str]
) -> tuple[Array, Array]:
    """Of episodes [e, h]: the steps up to the end of each, and its last one."""
    many, most = over.shape
    if steps is not None:
        raise refuse("steps", steps, f"nothing: {called['observations']} has its episodes apart already")
    length = np.where(over.any(1), over.argmax(1) + 1, most)
    given = arrays.get("lengths")
    if given is not None:
        if given.shape != (many,) or given.dtype.kind not in "iu" or ((given < 1) | (given > most)).any():
            shown = f"{given.dtype} of shape {list(given.shape)}"
            raise refuse(called["lengths"], shown, f"[{many}] whole numbers from 1 to {most}")
        length = np.minimum(length, given)
    if left := many * most - int(length.sum()):
        notes.append(f"steps after the end of an episode are left out ({left} of {many * most})")
    time = np.arange(most)
    return time < length[:, None], time == length[:, None] - 1


def _cut(over: Array, flags: Mapping[str, Array | None], steps: int | None, notes: list[str]) -> Array:
    """Of transitions [k]: the last one of each episode."""
    k, over = len(over), over.copy()
    if steps is not None:
        if steps < 1 or k % steps:
            raise refuse("steps", steps, f"a divisor of {k}, the transitions of the file")
        over[steps - 1 :: steps] = True
        notes.append(f"episodes are cut after {steps} steps, as asked ({k // steps} of them)")
    elif not over.any():
        told = "all flags are 0" if any(flag is not None for flag in flags.values()) else "there are no flags"
        raise refuse("steps", "none", f"the steps of an episode: {told}, and nothing says where one ends")
    over[-1] = True
    return over


def _rewards(rewards: Array, shape: tuple[int, ...], called: Mapping[str, str], notes: list[str]) -> Array:
    if rewards.shape == shape:
        return rewards
    if rewards.shape in (shape[:-1], (*shape[:-1], 1)):
        notes.append(f"one reward for the team at each step: each of its {shape[-1]} agents gets it")
        return np.broadcast_to(rewards.reshape(*shape[:-1], 1), shape)
    raise refuse(called["rewards"], f"shape {list(rewards.shape)}", f"{list(shape)}, or {list(shape[:-1])} of the team")


def _flag(arrays: Mapping[str, Array], name: str, shape: tuple[int, ...], called: Mapping[str, str]) -> Array | None:
    """Of each step; where there is one for each agent, an episode is over once all are."""
    flag = arrays.get(name)
    if flag is None:
        return None
    wrong = (flag != 0) & (flag != 1)
    if wrong.any():
        at = np.argwhere(wrong)[0].tolist()
        raise refuse(f"{called[name]}{at}", flag[tuple(at)], "0 or 1")
    if flag.shape == shape[:-1]:
        return flag.astype(bool)
    if flag.shape in (shape, (*shape[:-1], 1)):
        return np.asarray(flag.astype(bool).all(-1))
    raise refuse(called[name], f"shape {list(flag.shape)}", f"{list(shape[:-1])} or {list(shape)}")


def _ended(
    flags: Mapping[str, Array | None], ends: Array, called: Mapping[str, str], notes: list[str]
) -> tuple[Array, Array]:
    """terminated and truncated of each step; what the data leave open is told."""
    over, cut = flags["terminated"], flags["truncated"]
    episodes, done = int(ends.sum()), np.zeros_like(ends) if over is None else over & ends
    if over is not None and cut is None and not over.any():
        notes.append(f"{called['terminated']} is 0 everywhere: no episode ended by itself, as far as it says")
    if over is not None and cut is None and episodes > 1 and (done == ends).all():
        lengths = np.diff(np.append(-1, np.flatnonzero(ends)))
        if (lengths == lengths[0]).all():
            told = f"{called['terminated']} ends all {episodes} episodes after {lengths[0]} steps"
            notes.append(f"{told}: if that is a limit of time they were cut off, and belong to truncated")
    both = 0 if cut is None else int((done & cut).sum())
    if both:
        notes.append(f"terminated and truncated at once is taken as terminated ({both} of {episodes} episodes)")
    rest = int((ends & ~done & ~(np.zeros_like(ends) if cut is None else cut)).sum())
    if rest:
        notes.append(f"episodes that no flag ends are taken to be cut off, truncated ({rest} of {episodes})")
    return done, ends & ~done


def _require_finite(array: Array, name: str, where: Callable[[int], str]) -> None:
    fine = np.isfinite(array)
    if not fine.all():
        at = np.argwhere(~fine)[0].tolist()
        rest = ", ".join(map(str, at[1:]))
        raise refuse(f"{name}{where(at[0])[:-1]}, {rest}]", array[tuple(at)], "a finite number")
