"""Builds the trainable half-model: frozen SmolLM2 with LoRA, and the projector; exports the delta.

The tower is not here: training reads its stored features. The delta holds the projector and the
LoRA matrices alone, in bfloat16, under the names that `spavl.embedded.assembly` merges.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedTokenizerFast

from spavl.embedded.assembly import text_model_file

HIDDEN, VISION = 576, 1280
RANK, ALPHA = 16, 32
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Projector(nn.Module):
    """Maps one grid vector to one embedding; the same layers as Llava's projector."""

    def __init__(self) -> None:
        """Builds the two layers."""
        super().__init__()
        self.linear_1 = nn.Linear(VISION, HIDDEN)
        self.linear_2 = nn.Linear(HIDDEN, HIDDEN)

    def forward(self, grid: Tensor) -> Tensor:
        """Returns (B, P, 576) embeddings of (B, P, 1280) features."""
        return self.linear_2(nn.functional.gelu(self.linear_1(grid)))


def text_model(work: Path) -> tuple[nn.Module, PreTrainedTokenizerFast]:
    """Returns SmolLM2 in bfloat16 and its tokenizer, converted from GGUF once."""
    folder = work / "smollm2"
    if not folder.is_dir():
        gguf = text_model_file()
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager")
    return model, AutoTokenizer.from_pretrained(folder)


class LoraLinear(nn.Module):
    """A frozen linear layer with a trainable low-rank addition, computed in the layer's dtype."""

    def __init__(self, base: nn.Linear) -> None:
        """Wraps the layer; the addition starts at zero."""
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.empty(RANK, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, RANK))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        """Returns the layer's output plus the scaled low-rank product."""
        down, up = self.lora_A.to(inputs.dtype), (self.lora_B * (ALPHA / RANK)).to(inputs.dtype)
        low = nn.functional.linear(inputs, down)
        return self.base(inputs) + nn.functional.linear(low, up)


def with_lora(model: nn.Module) -> nn.Module:
    """Freezes the model and wraps every linear layer of its blocks in place."""
    model.requires_grad_(False)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name in LINEARS:
                setattr(module, name, LoraLinear(child))
    return model


def trainable(projector: nn.Module, adapted: nn.Module) -> dict[str, Tensor]:
    """Returns the trained tensors by the names of the delta file."""
    tensors = {f"projector.{name}": p.detach() for name, p in projector.named_parameters()}
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            tensors[f"lora.{name.removeprefix('model.')}"] = parameter.detach()
    return tensors


def load_trainable(projector: nn.Module, adapted: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Copies tensors of `trainable` back in place."""
    for name, tensor in trainable(projector, adapted).items():
        tensor.copy_(tensors[name])


def write_delta(tensors: dict[str, Tensor], path: Path) -> None:
    """Writes the delta in bfloat16."""
    halves = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}
    save_file(halves, path, metadata={"lora_alpha": str(ALPHA), "lora_rank": str(RANK)})
    path.chmod(0o644)
