"""spavl: safety preference alignment for vision-language models, from pictures to a measured, safer model."""

__version__ = "0.1.0"
