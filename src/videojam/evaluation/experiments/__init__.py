"""The paper's experiments on the Motion Lab; `videojam evaluate NAME` runs one.

One file each; an experiment that needs helpers of its own is a folder with `experiment.py`.
"""
