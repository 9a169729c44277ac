"""Fine-tuning a model with the joint objective: one process or many, stoppable at any moment."""
