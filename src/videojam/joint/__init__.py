"""The paper's architectural change: one transformer over appearance and motion latents."""
