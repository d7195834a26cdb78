"""Who takes part: what one role trains is not seen by another."""

from collections.abc import Callable
from pathlib import Path

import torch
from tests.train.rl.material import PROMPTS, rl_settings

from spavl.models.loading import Vlm
from spavl.train.families import family_of
from spavl.train.render import Renderer, Row
from spavl.train.rl.experience import know
from spavl.train.rl.roles import Base, open_roles

Picture = Callable[[str], Path]


def test_the_reference_and_the_critic_see_pictures_as_at_first_whatever_the_policy_trains(
    vlm: Vlm, renderer: Renderer, tiny: Path, picture: Picture, tmp_path: Path
) -> None:
    """The projector is moved: the policy's log-probabilities change; the reference's and the values to no bit."""
    config = rl_settings(projector=True, cache=tmp_path / "cache")
    roles = open_roles(Base(vlm, family_of(vlm.model), tiny, picture), config, 0, None)
    prompts = [renderer.prompt_at(one.question, picture(one.image_id)) for one in PROMPTS[:2]]
    rows = [Row(one.id, one.image_id, ids, ((5, 0, 9),)) for one, ids in zip(PROMPTS, prompts, strict=False)]
    with torch.no_grad():
        roles.heads["reward"].weight.fill_(0.1)
    before = know(roles, rows, [[0, 1]], 1.0)
    projector = roles.policy.parts["projector"]
    with torch.no_grad():
        moved = {name: parameter.mul_(3).clone() for name, parameter in projector.items()}
    after = know(roles, rows, [[0, 1]], 1.0)
    assert moved and not torch.equal(after.policy, before.policy)
    assert torch.equal(after.reference, before.reference)
    assert torch.equal(after.values["reward"], before.values["reward"]) and before.values["reward"].any()
    assert all(torch.equal(parameter, moved[name]) for name, parameter in projector.items())
