"""The low level under a latent world: actors who walk for a while towards a subgoal, and what the planner sees of it.

Told the subgoal g in state s, an actor takes `steps` actions of pi_g on the low level P_z(t | s, a) and stops. To the
planner that is one step of a high level,

    P_z(t | s, g) = (P_z^{pi_g})^steps [s, t],        P_z^{pi_g}[s, t] = sum_a pi_g(a | s) P_z(t | s, a)

or the product of so many matrices, where the actor's policy changes from step to step. He, Chen, Zhang and Yang, ICML
2024, arXiv 2405.19883, section 3. `compiled` is the high level, `walk` plays the low level under it step by step.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gamesim.errors import refuse
from gamesim.games.game import require_rows
from gamesim.parameters import Count, convert
from gamesim.simplex import drawn


@dataclass(frozen=True, eq=False, kw_only=True)
class Hierarchy:
    """A low level, and the policies of an actor on it for each subgoal."""

    kernel: Tensor
    """P(t | s, a), [a, s, t]; or [z, a, s, t], a low level for each latent."""
    actor: Tensor
    """pi_g(a | s), [g, s, a]; or [step, g, s, a], one for each step."""
    steps: Count
    """Actions that the actor takes for a subgoal, H_a."""
    states: tuple[str, ...] = ()
    """Their names; by default their numbers."""
    actions: tuple[str, ...] = ()
    subgoals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", convert(self.steps, Count, "steps"))
        for name, x, letters in (("kernel", self.kernel, "z, a, s, t"), ("actor", self.actor, "step, g, s, a")):
            if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() not in (3, 4) or 0 in x.shape:
                shown = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise refuse(name, shown, f"a floating-point tensor [{letters}], the first one at will")
        a, s, t = self.kernel.shape[-3:]
        if s != t:
            raise refuse("kernel", f"shape {list(self.kernel.shape)}", "as many next states as states")
        if self.actor.shape[-2:] != (s, a):
            raise refuse(
                "actor", f"shape {list(self.actor.shape)}", f"[..., g, {s}, {a}]: states and actions of kernel"
            )
        if self.actor.dim() == 4 and len(self.actor) != self.steps:
            raise refuse("actor", f"policies for {len(self.actor)} steps", f"for {self.steps} steps, or one for all")
        if self.actor.dtype != self.kernel.dtype or self.actor.device != self.kernel.device:
            shown = f"{self.actor.dtype} on {self.actor.device}"
            raise refuse("actor", shown, f"{self.kernel.dtype} on {self.kernel.device}, as the kernel")
        require_rows(self.kernel, "kernel")
        require_rows(self.actor, "actor")
        for field, names, count in (
            ("states", self.states, s),
            ("actions", self.actions, a),
            ("subgoals", self.subgoals, self.actor.shape[-3]),
        ):
            object.__setattr__(self, field, named(field, names, count))

    @cached_property
    def moves(self) -> Tensor:
        """One action of the actor: P_z^{pi_g}[s, t], [z, g, s, t], or [step, z, g, s, t]; z is of size 1 if shared."""
        kernel = self.kernel if self.kernel.dim() == 4 else self.kernel[None]
        return torch.einsum("...gsa,zast->...zgst", self.actor, kernel)

    @cached_property
    def compiled(self) -> Tensor:
        """The high level P_z(t | s, g), [z, s, g, t]; z is of size 1 where latents share the low level."""
        if self.actor.dim() == 3:
            high: Tensor = torch.linalg.matrix_power(self.moves, self.steps)
        else:
            high = self.moves[0]
            for after in self.moves[1:]:
                high = high @ after
        return high.transpose(-3, -2)

    def reaches(self, goals: Tensor) -> Tensor:
        """The chance to stand at goals[g], a state for each subgoal, when the actor stops: [z, s, g]."""
        place = goals[:, None].expand(*self.compiled.shape[:-1], 1)
        there: Tensor = self.compiled.gather(-1, place)
        return there.squeeze(-1)

    def act(self, k: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Step k of a subgoal, of uniform numbers u[..., 2]: the next state and the action taken, [...] each."""
        policy = self.actor if self.actor.dim() == 3 else self.actor[k]
        action = drawn(policy[subgoal, state], u[..., 0])
        law = self.kernel[action, state] if self.kernel.dim() == 3 else self.kernel[latent, action, state]
        return drawn(law, u[..., 1]), action

    def walk(self, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """All steps of a subgoal, of u[..., steps, 2]: states passed [..., steps + 1] and actions [..., steps]."""
        if u.shape[-2:] != (self.steps, 2):
            raise refuse("u", f"shape {list(u.shape)}", f"[..., {self.steps}, 2], numbers for each step")
        passed, taken = [state.expand(u.shape[:-2])], list[Tensor]()
        for k, luck in enumerate(u.unbind(-2)):
            state, action = self.act(k, latent, state, subgoal, luck)
            passed.append(state)
            taken.append(action)
        return torch.stack(passed, -1), torch.stack(taken, -1)


def named(field: str, names: tuple[str, ...], count: int) -> tuple[str, ...]:
    """So many different names; numbers where none are given."""
    if not names:
        return tuple(map(str, range(count)))
    if len(names) != count or len(set(names)) != count:
        raise refuse(field, f"{len(names)} names, {len(set(names))} of them different", f"{count} different names")
    return tuple(names)
