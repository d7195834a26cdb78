"""DPO training by spavl beside TRL's DPOTrainer: same weights, same pairs, same steps, equal losses."""
