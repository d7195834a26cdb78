"""Makes the embedded mini VLM: data, distilled chat, training, export and evaluation."""
