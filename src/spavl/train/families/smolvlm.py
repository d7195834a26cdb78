"""SmolVLM, and Idefics3, whose parts it has: a picture and its tiles, patches shuffled together by a connector."""

from spavl.train.families.base import Family

SMOLVLM = Family(
    model_type="smolvlm",
    language_path="model.text_model",
    vision_path="model.vision_model",
    projector_paths=("model.connector",),
    towers={"smolvlm_vision": "encoder.layers"},
    inputs=("pixel_attention_mask",),
)

IDEFICS3 = SMOLVLM._replace(model_type="idefics3", towers={"idefics3_vision": "encoder.layers"})
