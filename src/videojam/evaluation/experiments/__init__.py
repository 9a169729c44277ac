"""The paper's experiments on the Motion Lab, one file each; `videojam evaluate NAME` runs one."""
