"""What a stage's identity holds, and what it leaves out."""

from spavl.config import EmbeddedJudgeConfig, OpenAIModelConfig, ResponderConfig, RubricJudgeConfig
from spavl.judges import judge_fingerprint
from spavl.pipeline.road import NOT_IDENTITY, STAGES, identity


def served(**changes: object) -> OpenAIModelConfig:
    return OpenAIModelConfig.model_validate(
        {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "m"} | changes
    )


def test_how_a_server_is_asked_is_not_part_of_what_it_answers() -> None:
    assert identity(served(concurrency=1, timeout_s=5, retries=0, api_key_env="A", prefill=True)) == identity(served())
    limits = {"requests_per_minute": 5, "tokens_per_minute": 5, "budget": {"money": 1}}
    assert identity(served(price={"input": 1, "output": 2}, **limits)) == identity(served())


def test_a_server_with_an_identity_is_the_same_wherever_it_is() -> None:
    here, there = (served(base_url=f"http://{host}/v1", identity="mine") for host in ("a", "b"))
    assert identity(here.identified()) == identity(there.identified()) != identity(here)
    assert identity(served().identified()) == identity(served())


def test_which_model_is_asked_is() -> None:
    assert identity(served(model="other")) != identity(served())
    assert identity(served(base_url="http://localhost:2/v1")) != identity(served())


def test_every_field_of_a_responder_is_identity() -> None:
    base = ResponderConfig(model="m")
    changes = {"system": "s", "answer_prefix": "p", "temperature": 0.5, "top_p": 0.5, "max_tokens": 9, "model": "n"}
    assert set(changes) == set(ResponderConfig.model_fields)
    for field, value in changes.items():
        assert identity(base.model_copy(update={field: value})) != identity(base), field


def test_every_exclusion_has_its_reason() -> None:
    assert all(len(reason.split()) >= 2 for reason in NOT_IDENTITY.values())


def test_stages_are_listed_once_in_the_order_of_the_road() -> None:
    assert len(set(STAGES)) == len(STAGES)
    assert STAGES.index("images") < STAGES.index("dataset") < STAGES.index("train") < STAGES.index("answers")


def test_a_responder_may_be_called_like_a_field() -> None:
    responders = {"retries": ResponderConfig(model="m"), "plain": ResponderConfig(model="m")}
    assert set(identity(responders)) == {"retries", "plain"}


def test_a_judge_is_known_by_its_rules() -> None:
    embedded, rubric = EmbeddedJudgeConfig(), RubricJudgeConfig(kind="rubric", model="m")
    assert judge_fingerprint(embedded) != judge_fingerprint(rubric)
    assert len(judge_fingerprint(embedded)) == 64
