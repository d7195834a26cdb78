"""RLOO by spavl beside TRL's RLOOTrainer: same weights, prompts, pictures, lengths and rewards, equal steps."""
