"""What an endpoint can do, found by trying: which model it serves, log-probabilities, choosing from a list."""

from collections.abc import Sequence
from typing import Any

from gamesim.errors import refuse
from gamesim.planning.language.endpoint import Answer, Endpoint

FORMS = ("structured_outputs", "guided_choice")
"""How a server is told to choose: vLLM's structured outputs, and what they were called before."""


def choosing(form: str, choices: Sequence[str]) -> dict[str, Any]:
    """What says to a server that a reply is one of these; nothing for a form that is none."""
    if form == "structured_outputs":
        return {"structured_outputs": {"choice": list(choices)}}
    return {"guided_choice": list(choices)} if form == "guided_choice" else {}


def served(endpoint: Endpoint, model: str) -> str:
    """A model that the endpoint serves: the one that is asked for, or its only one; refused where there is none."""
    known = endpoint.models()
    if not model:
        if known is not None and len(known) == 1:
            return known[0]
        listed = "it does not say which it serves" if not known else f"it serves {', '.join(known[:20])}"
        raise refuse("model", model, f"the name of a model of {endpoint.address}: {listed}")
    if known is not None and not any(model in (name, name.partition(":")[0]) for name in known):
        answer = endpoint.try_out(model)  # a list need not be whole
        if answer.status == "rejected":
            raise refuse(
                "model", model, f"one of {', '.join(known[:20])}, which {endpoint.address} serves ({answer.error})"
            )
    return model


def gives_logprobs(endpoint: Endpoint, model: str) -> Answer:
    """An answer with log-probabilities, where the endpoint gives them."""
    return endpoint.try_out(model, max_tokens=1, logprobs=True, top_logprobs=2)


def form_of_choosing(endpoint: Endpoint, model: str) -> str:
    """How this endpoint is told to choose from a list, found by trying; none where it cannot be told."""
    words = ["quartz", "maple"]
    for form in FORMS:
        if (endpoint.try_out(model, extra_body=choosing(form, words)).text or "").strip() in words:
            return form
    return "none"
