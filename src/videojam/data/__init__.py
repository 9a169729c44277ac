"""A folder of captioned videos -> a Lance dataset of latents -> training batches."""
