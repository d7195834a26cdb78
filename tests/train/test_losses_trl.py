"""The losses against those of TRL 1.16.0, computed by its own trainers from the same log-probabilities."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer
from trl.experimental.cpo import CPOTrainer

from spavl.config import TrainConfig
from spavl.train.loss_formulas import PairLengths, PairLogprobs
from spavl.train.losses import TERMS, LossInputs, RewardShift, preference_losses

pytestmark = pytest.mark.slow

ROWS = {
    "prompt": ["what is shown", "what is here", "is a cat here", "is the dog on the mat"],
    "chosen": [" a cat sits", " a dog sits", " yes a cat", " no the mat"],  # all of one length: see TRL's `sft` below
    "rejected": [" no", " yes a cat sits on the mat", " no a dog", " a thing sits on a thing here"],
}
WORDS = sorted(
    {word for texts in ROWS.values() for text in texts for word in text.split()} | {"<pad>", "<eos>", "<unk>"}
)
BETA = 0.3
Settings = dict[str, Any]
IN_DPO: list[tuple[Settings, list[Settings]]] = [
    ({"loss_type": ["sigmoid"]}, [{"kind": "sigmoid"}]),
    ({"loss_type": ["hinge"]}, [{"kind": "hinge"}]),
    ({"loss_type": ["ipo"]}, [{"kind": "ipo"}]),
    ({"loss_type": ["robust"], "label_smoothing": 0.2}, [{"kind": "robust", "label_smoothing": 0.2}]),
    ({"loss_type": ["bco_pair"]}, [{"kind": "bco_pair"}]),
    ({"loss_type": ["sft"]}, [{"kind": "sft"}]),
    (
        {"loss_type": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]},
        [{"kind": "sigmoid", "weight": 0.8}, {"kind": "bco_pair", "weight": 0.2}, {"kind": "sft"}],
    ),
]
"""TRL's settings and ours, for its DPO trainer."""
IN_CPO: list[tuple[Settings, Settings]] = [
    (
        {"loss_type": "simpo", "simpo_gamma": 0.7, "label_smoothing": 0.0},
        {"kind": "simpo", "beta": 1.5, "gamma": 0.7},
    ),
    ({"loss_type": "sigmoid", "label_smoothing": 0.1}, {"kind": "sigmoid", "label_smoothing": 0.1}),
]
"""The same for the trainer that has what its DPO trainer has not."""
NOT_IN_TRL = {"safe_dpo", "mdpo"}


def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")


def language_model(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(WORDS), initializer_range=0.5, **sizes))
    return model.float()


def trainer(tmp_path: Path, **settings: Any) -> DPOTrainer:
    args = DPOConfig(
        output_dir=str(tmp_path),
        beta=BETA,
        bf16=False,
        use_cpu=True,
        report_to="none",
        gradient_checkpointing=False,
        per_device_train_batch_size=4,
        **settings,
    )
    rows = Dataset.from_dict(ROWS)
    return DPOTrainer(
        language_model(0), ref_model=language_model(1), args=args, train_dataset=rows, processing_class=tokenizer()
    )


def logprobs(model: LlamaForCausalLM, batch: dict[str, Tensor]) -> tuple[PairLogprobs, PairLengths]:
    """The plain way, with nothing of TRL's: all logits, log-softmax, sum over the answer."""
    ids, mask = batch["input_ids"], batch["completion_mask"][:, 1:].bool()  # (2B, T), (2B, T-1)
    logits = model.lm_head(model.model(ids, attention_mask=batch["attention_mask"]).last_hidden_state)[:, :-1]
    per_token = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)  # (2B, T-1)
    totals = torch.where(mask, per_token, 0.0).sum(dim=1)  # (2B,)
    return PairLogprobs(*totals.chunk(2)), PairLengths(*mask.sum(1).chunk(2))


def config(*losses: dict[str, Any], beta: float = BETA) -> TrainConfig:
    return TrainConfig.model_validate({"model": "tiny", "beta": beta, "loss": list(losses)})


@pytest.mark.parametrize(
    ("theirs", "ours"), IN_DPO, ids=lambda value: "+".join(value["loss_type"]) if "loss_type" in value else ""
)
def test_loss_and_gradient_agree_with_trls_dpo_trainer(
    tmp_path: Path, theirs: dict[str, Any], ours: list[dict[str, Any]]
) -> None:
    """Theirs through its own data path, collator and fused head.

    Two differences are known: its `sft` is the mean over the batch's tokens, ours over pairs, which are one where the
    chosen answers have one length; its `bco_pair` has no reward shift, which is ours at the first step.
    """
    peer = trainer(tmp_path, **theirs)
    batch = next(iter(peer.get_train_dataloader()))
    wanted = peer.compute_loss(peer.model, batch)
    wanted.backward()
    gradients = [parameter.grad.clone() for parameter in peer.model.parameters()]

    plain = language_model(0)
    policy, lengths = logprobs(plain, batch)
    with torch.no_grad():
        reference, _ = logprobs(language_model(1), batch)
    inputs = LossInputs(policy, lengths, reference, shift=RewardShift.start())
    losses = preference_losses(inputs, config(*ours))
    losses.loss.mean().backward()

    assert set(lengths.chosen.tolist()) == {4} and len(set(lengths.rejected.tolist())) > 1
    assert (losses.chosen_reward - losses.rejected_reward).abs().max() > 0.1  # the two models differ
    assert losses.loss.mean().item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-5)
    for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
        assert (parameter.grad - gradient).norm() <= 1e-5 * gradient.norm()  # single entries are rounded further off


@pytest.mark.parametrize(("theirs", "ours"), IN_CPO, ids=["simpo", "conservative DPO"])
def test_losses_agree_with_trls_cpo_loss(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """SimPO from log-probabilities per token, and label smoothing, which TRL's DPO has lost.

    The sigmoid loss of CPO is that of DPO where the reference's log-probabilities are 0.
    """
    generator = torch.Generator().manual_seed(3)
    policy = PairLogprobs(*(-30 * torch.rand(2, 40, generator=generator)))
    lengths = PairLengths(*torch.randint(1, 12, (2, 40), generator=generator))
    per_token = theirs["loss_type"] == "simpo"
    chosen = policy.chosen / lengths.chosen if per_token else policy.chosen
    rejected = policy.rejected / lengths.rejected if per_token else policy.rejected
    itself = SimpleNamespace(beta=1.5, alpha=0.0, accelerator=SimpleNamespace(device="cpu"), **theirs)
    wanted, chosen_rewards, rejected_rewards = CPOTrainer.cpo_loss(itself, chosen, rejected)
    reference = None if per_token else PairLogprobs(torch.zeros(40), torch.zeros(40))
    found = preference_losses(LossInputs(policy, lengths, reference), config(ours, beta=1.5))
    assert torch.allclose(found.loss, wanted, rtol=1e-5, atol=1e-5)
    assert torch.allclose(found.chosen_reward, chosen_rewards, rtol=1e-5)
    assert torch.allclose(found.rejected_reward, rejected_rewards, rtol=1e-5)


def test_every_kind_is_compared_or_is_none_of_trls() -> None:
    compared = {ours["kind"] for _, mix in IN_DPO for ours in mix} | {ours["kind"] for _, ours in IN_CPO}
    assert compared | NOT_IN_TRL == set(TERMS) and not compared & NOT_IN_TRL
